"""Between a call and its caller's memory: what is heard and said goes in, the caller's card comes out as an event.

The memory works beside the call. Whatever it does, late or wrong, the call goes on as it would without it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from calls.core.commands import RunTool, TurnClosed
from calls.core.events import CardLoaded, EagerEnd, ToolSettled, WordsHeard
from calls.core.state import Card
from calls.tools import CHANGES_MEMORY

if TYPE_CHECKING:
    from calls.bus import Bus, StepTaken
    from calls.ports import CallMemory, Post

_log = structlog.get_logger(__name__)

#: How long the memory may take to let go of a call that is over.
_CLOSING_S = 1.0


class MemoryFeed:
    """Feeds one call's memory from its bus; ``run`` posts its card: once it is there, and again when it was changed."""

    def __init__(self, memory: CallMemory, bus: Bus, post: Post, call_sid: str) -> None:
        self._memory = memory
        self._post = post
        self._call_sid = call_sid
        self._posted = Card()
        self._changing: set[str] = set()
        self._is_due = asyncio.Event()
        bus.subscribe(WordsHeard, lambda heard, _: memory.hear(heard.text))
        bus.subscribe(EagerEnd, lambda heard, _: memory.hear(heard.text))
        bus.subscribe(TurnClosed, self._said)
        bus.subscribe(RunTool, self._tool_runs)
        bus.subscribe(ToolSettled, self._tool_settled)
        self._greet()

    def _greet(self) -> None:
        """A card that was prefetched stands before the call's own first event, so that the greeting has the name."""
        card = None
        try:
            card = self._memory.card_at_hand()
        except Exception as error:  # noqa: BLE001 - without its card the call is still a call
            _log.error("memory.card_failed", call_sid=self._call_sid, error=type(error).__name__)
        if card is None:
            self._is_due.set()
        else:
            self._show(card)

    def _show(self, card: Card) -> None:
        if card != self._posted:
            self._posted = card
            self._post(CardLoaded(name=card.name, text=card.text))

    def _said(self, turn: TurnClosed, _: StepTaken) -> None:
        """Both sides of a turn that is over: what the caller said, what they heard."""
        if turn.user_text:
            self._memory.note("user", turn.user_text, turn.turn, turn.speech_ended_ms)
        if turn.heard_text:
            self._memory.note("assistant", turn.heard_text, turn.turn, turn.first_audio_ms)

    def _tool_runs(self, tool: RunTool, _: StepTaken) -> None:
        if tool.name in CHANGES_MEMORY:
            self._changing.add(tool.call_id)

    def _tool_settled(self, tool: ToolSettled, _: StepTaken) -> None:
        """What a tool has changed in the memory holds from the next request on."""
        if tool.call_id in self._changing:
            self._changing.discard(tool.call_id)
            self._is_due.set()

    async def run(self) -> None:
        """Until it is cancelled. A card that cannot be had is none."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                self._show(await self._memory.card())
            except Exception as error:  # noqa: BLE001 - without its card the call is still a call
                _log.error("memory.card_failed", call_sid=self._call_sid, error=type(error).__name__)

    async def aclose(self) -> None:
        """Let the memory go. Raises what it raises, ``TimeoutError`` where it hangs."""
        async with asyncio.timeout(_CLOSING_S):
            await self._memory.aclose()
