"""Cartesia's two ways to listen, behind the ``Ear`` port.

``TurnsEar``: the endpoint that finds the turns itself (English). ``ManualEar``: the endpoint that transcribes and is
told by our own detector when a turn is over. Both get µ-law 8 kHz as it comes from the carrier.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from cartesia import omit
from cartesia.resources.stt.auto_finalize import AsyncAutoFinalizeResourceConnection as TurnsSocket
from cartesia.resources.stt.manual_finalize import AsyncManualFinalizeResourceConnection as ManualSocket

from calls.core.events import EagerEnd, Event, TurnEnded, TurnOpened, TurnResumed, WordsHeard
from calls.providers.cartesia.client import CartesiaClient, language_code
from calls.providers.cartesia.ear import CartesiaEar
from calls.providers.cartesia.errors import VENDOR
from calls.providers.cartesia.ledger import Patience
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calls.core.policy import AgentProfile
    from calls.ports import Ear, Post

_ENCODING: Literal["pcm_mulaw"] = "pcm_mulaw"
_SAMPLE_RATE = 8000


class TurnsEar(CartesiaEar[TurnsSocket]):
    """The vendor's model decides when a turn begins and ends."""

    async def _connect(self) -> TurnsSocket:
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
            self._hear(make(message))


class ManualEar(CartesiaEar[ManualSocket]):
    """Our detector decides when a turn ends; the vendor's texts are put together here.

    Interim text replaces interim text and final text is appended. The acknowledgement of ``finalize`` ends the turn
    with its final text; should that text come after the acknowledgement, it ends the turn instead.
    """

    #: A finalize follows the silence, and its acknowledgement comes at once.
    PATIENCE = Patience(after=(2.0, 3.0, 3.0))

    _finals = ""
    _interim = ""
    _opened = False
    _final_seen = False
    _awaits_final = False
    _finalized = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._asked: deque[int] = deque()

    async def _connect(self) -> ManualSocket:
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
        """Pump both ways, from a new turn."""
        self._reset()
        self._asked.clear()
        self._final_seen = False
        await super().serve(socket)

    def finalize(self) -> None:
        """Ask for the final text, after all audio given so far."""
        if self._up:
            self._asked.append(self._ledger.fed)
            self._final_seen = False
            self._frames.command("finalize")

    def _on_message(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "transcript":
            self._on_transcript(_text(message, "text"), bool(message.get("is_final")))
        elif kind == "flush_done" and self._asked:
            self._finalized = self._asked.popleft()
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
            self._hear(TurnOpened())
        self._hear(WordsHeard(text=whole))

    def _end_turn(self) -> None:
        """What is interim by now belongs to the next turn."""
        text, interim = self._finals, self._interim
        self._reset()
        self._hear(TurnEnded(text=text), self._finalized)
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
