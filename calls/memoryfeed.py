"""Between a call and its caller's memory: what is heard and said goes in, the caller's card comes out as an event.

The memory works beside the call. Whatever it does, late or wrong, the call goes on as it would without it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from calls.core.commands import TurnClosed
from calls.core.events import CardLoaded, EagerEnd, SpeechEnded, SpeechStarted, WordsHeard
from calls.core.state import Card

if TYPE_CHECKING:
    from calls.bus import Bus, StepTaken
    from calls.ports import CallMemory, Post

_log = structlog.get_logger(__name__)

#: How long the memory may take to let go of a call that is over.
_CLOSING_S = 1.0


class MemoryFeed:
    """Feeds one call's memory from its bus, and posts its card: before the call's own first event where it is there by
    then (``greet``), else as soon as it is (``run``), and again whenever it changes."""

    def __init__(self, memory: CallMemory, bus: Bus, post: Post, call_sid: str) -> None:
        self._memory = memory
        self._post = post
        self._call_sid = call_sid
        self._shown: Card | None = None
        memory.on_card = self._show
        self._speaking = False
        self._text = self._told = ""
        bus.subscribe(SpeechStarted, self._speech_started)
        bus.subscribe(SpeechEnded, self._speech_ended)
        bus.subscribe(WordsHeard, self._words_heard)
        bus.subscribe(EagerEnd, self._eager_end)
        bus.subscribe(TurnClosed, self._said)

    # What is heard while the caller speaks will be more in a moment: what it means is wanted once they pause.

    def _speech_started(self, _event: SpeechStarted, _: StepTaken) -> None:
        self._speaking = True

    def _speech_ended(self, _event: SpeechEnded, _: StepTaken) -> None:
        self._speaking = False
        self._hear()

    def _words_heard(self, heard: WordsHeard, _: StepTaken) -> None:
        self._text = heard.text
        if not self._speaking:
            self._hear()

    def _eager_end(self, heard: EagerEnd, _: StepTaken) -> None:
        self._text = heard.text
        self._hear()

    def _hear(self) -> None:
        if self._text and self._text != self._told:
            self._told = self._text
            self._memory.hear(self._text)

    async def greet(self) -> None:
        """Post a card that was prefetched, so that the greeting has the name. Waits for nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await self._first_card()

    async def run(self) -> None:
        """Post the first card, whenever it comes."""
        if self._shown is None:
            await self._first_card()

    async def _first_card(self) -> None:
        try:
            card = await self._memory.card()
        except Exception as error:  # noqa: BLE001 - without its card the call is still a call
            _log.error("memory.card_failed", call_sid=self._call_sid, error=type(error).__name__)
        else:
            self._show(card)

    def _show(self, card: Card) -> None:
        if card != (self._shown or Card()):
            self._post(CardLoaded(name=card.name, text=card.text))
        self._shown = card

    def _said(self, turn: TurnClosed, _: StepTaken) -> None:
        """Both sides of a turn that is over: what the caller said, what they heard."""
        self._text = self._told = ""
        if turn.user_text:
            self._memory.note("user", turn.user_text, turn.turn, turn.speech_ended_ms)
        if turn.heard_text:
            self._memory.note("assistant", turn.heard_text, turn.turn, turn.first_audio_ms)

    async def aclose(self) -> None:
        """Let the memory go. Raises what it raises, ``TimeoutError`` where it hangs."""
        async with asyncio.timeout(_CLOSING_S):
            await self._memory.aclose()
