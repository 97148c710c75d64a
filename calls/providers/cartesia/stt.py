"""Cartesia's two ways to listen, behind the ``Ear`` port.

``TurnsEar``: the endpoint that finds the turns itself (English). ``ManualEar``: the endpoint that transcribes and is
told by our own detector when a turn is over. Both get µ-law 8 kHz as it comes from the carrier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from cartesia import omit
from cartesia.resources.stt.auto_finalize import AsyncAutoFinalizeResourceConnection as TurnsSocket
from cartesia.resources.stt.manual_finalize import AsyncManualFinalizeResourceConnection as ManualSocket

from calls import metrics
from calls.core.events import (
    EagerEnd,
    EarFailed,
    EarReady,
    Event,
    TurnEnded,
    TurnOpened,
    TurnResumed,
    WordsHeard,
)
from calls.providers.aio import race
from calls.providers.cartesia.client import CartesiaClient, language_code, parse
from calls.providers.cartesia.errors import VENDOR, from_event
from calls.providers.cartesia.frames import FrameQueue
from calls.providers.cartesia.link import Link, Persistence
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calls.core.policy import AgentProfile
    from calls.ports import Ear, Post

_ENCODING: Literal["pcm_mulaw"] = "pcm_mulaw"
_SAMPLE_RATE = 8000


class _CartesiaEar[S: (TurnsSocket, ManualSocket)]:
    """What both ears share: live audio out, one outage told once, never a backlog."""

    def __init__(
        self,
        client: CartesiaClient,
        agent: AgentProfile,
        post: Post,
        *,
        keyterms: Sequence[str] = (),
        persistence: Persistence | None = None,
    ) -> None:
        self._client = client
        self._language = language_code(agent.language)
        self._post = post
        self._keyterms = list(keyterms)
        self._frames = FrameQueue(join_bytes=client.conf.stt_join_ms * 8)
        self._link: Link[S] = Link(self, persistence or Persistence())
        self._up = False
        self._outage_told = False

    @property
    def dropped_frames(self) -> int:
        """Frames that were dropped because the socket was too slow."""
        return self._frames.dropped_frames

    async def run(self) -> None:
        """Connect and listen until ``aclose`` or cancellation, or until no further attempt is worth it."""
        await self._link.run()

    def feed(self, audio: bytes) -> None:
        """One frame of µ-law. While there is no socket it is dropped: only live audio may go to a new one."""
        if self._up:
            self._frames.put(audio)

    def finalize(self) -> None:
        """Nothing: turns are found by the vendor."""

    async def aclose(self) -> None:
        """Close politely, within a second."""
        await self._link.aclose()

    # --- for the link -------------------------------------------------------------------------------------------

    async def open(self) -> S:
        """A new socket; each from a new manager, since an old one hands back its dead connection."""
        raise NotImplementedError

    async def serve(self, socket: S) -> None:
        """Pump both ways until either ends."""
        self._frames.clear()
        self._up, self._outage_told = True, False
        self._post(EarReady())
        try:
            await race(self._send(socket), self._receive(socket))
        finally:
            self._up = False

    def went_down(self, error: VendorError, *, final: bool) -> None:
        """Tell an outage once when it begins, and once more when it is for good."""
        metrics.vendor_failed("cartesia.stt", error.kind)
        if final or not self._outage_told:
            self._outage_told = True
            self._post(EarFailed(kind=error.kind, final=final))

    async def revived(self) -> bool:
        """A deaf call does not get better by waiting: the core decides what to do with it."""
        return False

    async def _send(self, socket: S) -> None:
        while True:
            await socket.send_raw(await self._frames.get())

    async def _receive(self, socket: S) -> None:
        while True:
            message = parse(await socket.recv_bytes())
            if message.get("type") == "error":
                raise from_event(message)
            self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        raise NotImplementedError


class TurnsEar(_CartesiaEar[TurnsSocket]):
    """The vendor's model decides when a turn begins and ends."""

    async def open(self) -> TurnsSocket:
        """A socket of the turns endpoint."""
        return await self._client.open(
            self._client.sdk.stt.auto_finalize.websocket(
                model=self._client.conf.stt_model,
                encoding=_ENCODING,
                sample_rate=_SAMPLE_RATE,
                keyterm=self._keyterms or omit,
                websocket_connection_options=self._client.socket_options,
            )
        )

    #: The vendor's words for the course of a turn. Texts are whole, not pieces, and keep their spaces.
    _EVENTS: ClassVar[dict[str, Callable[[dict[str, Any]], Event]]] = {
        "turn.start": lambda _: TurnOpened(),
        "turn.update": lambda message: WordsHeard(text=_text(message, "transcript")),
        "turn.eager_end": lambda message: EagerEnd(text=_text(message, "transcript")),
        "turn.resume": lambda _: TurnResumed(),
        "turn.end": lambda message: TurnEnded(text=_text(message, "transcript")),
    }

    def _on_message(self, message: dict[str, Any]) -> None:
        make = self._EVENTS.get(str(message.get("type")))
        if make is not None:
            self._post(make(message))


class ManualEar(_CartesiaEar[ManualSocket]):
    """Our detector decides when a turn ends; the vendor's texts are put together here.

    Interim text replaces interim text and final text is appended. The acknowledgement of ``finalize`` ends the turn
    with its final text; should that text come after the acknowledgement, it ends the turn instead.
    """

    _finals = ""
    _interim = ""
    _opened = False
    _unanswered = 0
    _final_seen = False
    _awaits_final = False

    async def open(self) -> ManualSocket:
        """A socket of the manual endpoint."""
        return await self._client.open(
            self._client.sdk.stt.manual_finalize.websocket(
                model=self._client.conf.stt_manual_model,
                encoding=_ENCODING,
                sample_rate=_SAMPLE_RATE,
                language=cast("Literal['en']", self._language),  # the SDK's type knows only the newest model's
                keyterm=self._keyterms or omit,
                websocket_connection_options=self._client.socket_options,
            )
        )

    async def serve(self, socket: ManualSocket) -> None:
        """Pump both ways; what a lost socket had heard of an open turn was already told."""
        self._reset()
        self._unanswered, self._final_seen = 0, False
        await super().serve(socket)

    def finalize(self) -> None:
        """Ask for the final text, after all audio given so far."""
        if self._up:
            self._unanswered += 1
            self._final_seen = False
            self._frames.command("finalize")

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "transcript":
            self._on_transcript(_text(message, "text"), bool(message.get("is_final")))
        elif kind == "flush_done" and self._unanswered:
            self._unanswered -= 1
            if self._final_seen or not self._interim:
                self._end_turn()
            else:
                self._awaits_final = True

    def _on_transcript(self, text: str, is_final: bool) -> None:
        if is_final:
            self._finals += text
            self._interim = ""
            self._final_seen = True
        else:
            self._interim = text
        if is_final and self._awaits_final:
            self._end_turn()
        else:
            self._tell_words()

    def _tell_words(self) -> None:
        whole = self._finals + self._interim
        if not whole:
            return
        if not self._opened:
            self._opened = True
            self._post(TurnOpened())
        self._post(WordsHeard(text=whole))

    def _end_turn(self) -> None:
        """What is interim by now belongs to the next turn."""
        text, interim = self._finals, self._interim
        self._reset()
        self._post(TurnEnded(text=text))
        self._interim = interim
        self._tell_words()

    def _reset(self) -> None:
        self._finals = self._interim = ""
        self._opened = self._awaits_final = False


def _text(message: dict[str, Any], name: str) -> str:
    text = message.get(name)
    if not isinstance(text, str):
        raise VendorError("garbage", VENDOR, detail=f"{message.get('type')} without {name}")
    return text


def make_ear(client: CartesiaClient, agent: AgentProfile, post: Post, *, keyterms: Sequence[str] = ()) -> Ear:
    """The ear for an agent: the turns endpoint where the language has it and the policy wants it."""
    turns = language_code(agent.language) == "en" and agent.policy.endpointing != "silence"
    return (TurnsEar if turns else ManualEar)(client, agent, post, keyterms=keyterms)
