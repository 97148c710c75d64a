"""What both ears share: live audio out, words in, and no word lost or doubled when a connection fails.

What the caller says stays in the ledger until a final text covers it. A new connection gets live audio, from the last moment
on in which the caller was quietest: between two words, if they are heard to be two. What was said before that is transcribed
apart, in one request, and its text stands before what the new one hears. Without a connection, the caller's silence sends what
was said the same way, and ends the turn. A connection that stands and says nothing of a caller
whom the local detector heard is doubted: the request decides whether there was anything to say.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

import structlog

from calls import metrics
from calls.core.events import EagerEnd, EarFailed, EarReady, Event, TurnEnded, TurnOpened, WordsHeard
from calls.providers.aio import race
from calls.providers.cartesia.batch import transcribe
from calls.providers.cartesia.client import CartesiaClient, Socket, language_code, parse
from calls.providers.cartesia.errors import VENDOR, from_event
from calls.providers.cartesia.frames import FrameQueue
from calls.providers.cartesia.ledger import BYTES_PER_MS, AudioLedger, Doubt, Patience, Progress
from calls.providers.cartesia.link import Link, Persistence
from calls.providers.cartesia.turntext import Told, TurnText
from calls.providers.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from calls.core.policy import AgentProfile
    from calls.ports import Post

    class SttSocket(Socket, Protocol):
        """What the ears use of the SDK's two connections."""

        async def send_raw(self, data: bytes | str) -> None:
            """Audio, or a command."""


_log = structlog.get_logger(__name__)

OPERATION: Final = "cartesia.stt"
#: How long words of the new connection wait for the text of what came before them.
RECOVERY_S: Final = 2.5
#: After the detector's end of speech, itself 256 ms after the last voice: the caller has finished.
QUIET_S: Final = 0.4
#: How much of what no connection has heard the next one is given first: a call is up a moment before its first connection
#: stands, and the detector is late. So little audio transcribed apart would be guesswork.
CARRY_MS: Final = 300
#: How far back lies the moment at most where the new connection takes over from the request: longer than a word, and less than
#: its queue holds.
SEAM_MS: Final = 800
_TICK_S: Final = 0.1
_PROGRESS: Final[dict[type[Event], Progress]] = {
    TurnOpened: Progress.OPENED,
    WordsHeard: Progress.WORDS,
    EagerEnd: Progress.WORDS,
}


class Cause(StrEnum):
    """Why a stretch of audio is transcribed apart."""

    GAP = "gap"  # a new connection took over
    OUTAGE = "outage"  # there is none, and the caller has finished
    DOUBT = "doubt"  # the connection says nothing


class CartesiaEar[S: SttSocket]:
    """One of Cartesia's ways to listen. Subclasses open its socket and turn its messages into events by ``_hear``."""

    #: How long the vendor may say nothing.
    PATIENCE: ClassVar[Patience] = Patience()

    def __init__(
        self,
        client: CartesiaClient,
        agent: AgentProfile,
        post: Post,
        *,
        keyterms: Sequence[str] = (),
        persistence: Persistence | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._client = client
        self._language = language_code(agent.language)
        self._post = post
        self._keyterms = list(keyterms)
        self._frames = FrameQueue(join_bytes=client.conf.stt_join_ms * BYTES_PER_MS)
        self._link: Link[S] = Link(self, persistence or Persistence())
        self._ledger = AudioLedger()
        self._words = TurnText()
        self._doubt = Doubt(patience or self.PATIENCE)
        self._up = False
        self._outage_told = False
        self._hung = asyncio.Event()
        self._quiet_since = 0.0
        self._recovery: asyncio.Task[None] | None = None
        self._cause = Cause.GAP
        self._asked_until = -1
        self._covered_until = 0
        self._connected_at = 0
        self._heard_until = 0
        self._gap_asked = False

    @property
    def dropped_frames(self) -> int:
        """Frames that were dropped because the socket was too slow."""
        return self._frames.dropped_frames

    # --- the port -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and listen until ``aclose`` or cancellation, or until no further attempt is worth it."""
        try:
            await race(self._link.run(), self._watch())
        finally:
            self._drop_recovery()
            metrics.EAR_AUDIO_DROPPED.inc(self._ledger.dropped_bytes)

    def feed(self, audio: bytes) -> None:
        """One frame of µ-law. It is kept; only what comes while there is a socket is sent."""
        self._ledger.feed(audio)
        if self._up:
            self._frames.put(audio)

    def voice_began(self, ago_ms: int) -> None:
        """See ``Ear.voice_began``."""
        self._ledger.voice_began(ago_ms)
        self._doubt.voice_began(self._now())
        if self._up and self._ledger.began < self._connected_at and not self._gap_asked:
            self._recover(Cause.GAP, self._connected_at)  # it was speaking already when the connection took over

    def voice_ended(self, ago_ms: int) -> None:
        """See ``Ear.voice_ended``."""
        self._ledger.voice_ended(ago_ms)
        self._quiet_since = self._now()
        self._doubt.voice_ended(self._quiet_since)

    def finalize(self) -> None:
        """Nothing: turns are found by the vendor."""

    async def aclose(self) -> None:
        """Close politely, within a second."""
        await self._link.aclose()

    # --- for the link -------------------------------------------------------------------------------------------

    async def open(self) -> S:
        """A new socket, if the breaker admits one."""
        with self._client.attempt(OPERATION):
            return await self._connect()

    async def _connect(self) -> S:
        """A new socket; each from a new manager, since an old one hands back its dead connection."""
        raise NotImplementedError

    async def serve(self, socket: S) -> None:
        """Pump both ways until either ends."""
        self._frames.clear()
        self._hung.clear()
        self._up, self._outage_told = True, False
        self._post(EarReady())
        self._take_over()
        try:
            await race(self._send(socket), self._receive(socket), self._until_hung())
        finally:
            self._up = False
            self._heard_until = self._ledger.fed
            self._drop_recovery()
            self._words.lost()

    def lost(self, error: VendorError) -> None:
        """A connection that stood is no more."""
        self._client.report(OPERATION, error.kind)

    def went_down(self, error: VendorError, *, final: bool) -> None:
        """Tell an outage once when it begins, and once more when it is for good."""
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

    async def _until_hung(self) -> None:
        await self._hung.wait()
        raise VendorError("hung", VENDOR, detail="no word of a caller who spoke")

    def _on_message(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    # --- words --------------------------------------------------------------------------------------------------

    def _hear(self, event: Event, until: int | None = None) -> None:
        """The present connection says this. ``until``: where the turn's audio is over, if that is known exactly."""
        if self._hung.is_set():
            return  # judged, and about to be closed: what it heard has its text already
        if self._recovery is not None and self._cause is Cause.DOUBT:
            self._drop_recovery()  # it lives
        if isinstance(event, TurnEnded):
            self._tell(self._words.hear(event, self._ledger.turn_end() if until is None else until))
            self._client.report(OPERATION)
            return
        self._ledger.turn_heard()
        self._doubt.heard(self._now(), _PROGRESS.get(type(event), Progress.NOTHING))
        self._tell(self._words.hear(event))

    def _tell(self, told: list[Told]) -> None:
        for event, until in told:
            if isinstance(event, TurnEnded):
                self._ledger.settle(until)
                self._doubt.settled(self._now(), owes=self._ledger.owes)
            self._post(event)

    # --- what was said and not heard ----------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Divide what nobody has heard between the new connection and, where it is more than the last moment, a request.

        A word that was cut in two would be heard by neither: they divide where it is quietest. That may be a moment which an
        earlier connection heard; what it said of it counts only where the request brings nothing.
        """
        ledger = self._ledger
        begins = max(0, self._asked_until, ledger.fed - CARRY_MS * BYTES_PER_MS)
        is_covered = not ledger.speaking and ledger.voice_until <= self._asked_until and self._recovery is not None
        is_apart = ledger.owes and begins > 0 and not is_covered
        if is_apart:
            begins = ledger.quietest(ledger.fed - SEAM_MS * BYTES_PER_MS)
        self._connected_at, self._gap_asked = begins, False
        for frame in ledger.since(begins):
            self._frames.put(frame)
        if is_apart:
            self._recover(Cause.GAP, begins)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._look()

    def _look(self) -> None:
        """See whether the connection is to be doubted, and whether a caller who has finished waits for nobody."""
        if self._recovery is not None:
            return
        now, ledger = self._now(), self._ledger
        is_quiet = not ledger.speaking and now - self._quiet_since >= QUIET_S
        if self._up and self._doubt.is_due(now):
            self._recover(Cause.DOUBT, ledger.fed)
        elif is_quiet and not self._up and ledger.owes and ledger.voice_until > self._asked_until:
            self._recover(Cause.OUTAGE, ledger.fed)
        elif is_quiet and self._words.is_orphaned:
            self._tell(self._words.end(self._covered_until))

    def _recover(self, cause: Cause, until: int) -> None:
        """Have all transcribed up to this position that no final text covers."""
        self._drop_recovery()
        audio, whole = self._ledger.owed(until)
        self._cause, self._asked_until = cause, until
        self._gap_asked = self._gap_asked or cause is Cause.GAP
        if cause is not Cause.DOUBT:
            self._words.hold()
        self._recovery = asyncio.create_task(self._recovering(cause, audio, whole, until))

    def _drop_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery, self._asked_until = None, -1

    async def _recovering(self, cause: Cause, audio: bytes, whole: bool, until: int) -> None:
        began, text, outcome = self._now(), "", "empty"
        try:
            text = (await self._transcribe(audio)).strip() if audio else ""
            outcome = "text" if text else "empty"
        except VendorError as error:
            outcome = error.kind
        self._recovery, self._covered_until = None, until
        took_ms = round((self._now() - began) * 1000)
        metrics.EAR_RECOVERIES.labels(cause.value, outcome).inc()
        _log.info(
            "ear.recovery", cause=cause.value, outcome=outcome, audio_ms=len(audio) // BYTES_PER_MS, took_ms=took_ms
        )
        failed = outcome not in ("text", "empty")
        if cause is Cause.DOUBT:
            self._judge(text, failed=failed, whole=whole, until=until)
        else:
            self._tell(self._words.resolve(text, whole=whole, overlaps=until < self._heard_until))
            if failed and self._up:
                self._ledger.settle(until, ends_turn=False)  # nobody will ever say what it was
                if self._words.is_live:
                    self._ledger.turn_heard()
                self._doubt.settled(self._now(), owes=self._ledger.owes)
        self._look()

    async def _transcribe(self, audio: bytes) -> str:
        """What is said in this audio, within ``RECOVERY_S``. Raises ``VendorError``."""
        return await transcribe(self._client, audio, self._language, RECOVERY_S)

    def _judge(self, text: str, *, failed: bool, whole: bool, until: int) -> None:
        """The doubted connection was right to say nothing where there is no text; else, or where nobody can tell, it hangs."""
        now = self._now()
        if not text:
            self._doubt.rest(now)
        if not text and not failed:
            self._ledger.settle(until, ends_turn=False)
            self._doubt.settled(now, owes=self._ledger.owes)
            return
        self._words.lost()
        self._tell(self._words.resolve(text, whole=whole))
        self._up = False
        self._hung.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
