"""One call to a bot, with the judgements that scenarios are made of. All times are milliseconds of the call."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from aiohttp import WSServerHandshakeError

from tests.conformance import ears
from voiceagent.sandbox.call.lines import AUDIO
from voiceagent.sandbox.carrier import (
    AgentStarted,
    CallerStarted,
    CallerStopped,
    CarrierFaults,
    Cleared,
    HungUp,
    ProtocolFault,
    StreamOpened,
    TimelineEvent,
    signing,
    twiml,
)
from voiceagent.sandbox.carrier.stream import VOICED, MediaStream
from voiceagent.sandbox.carrier.timeline import Timeline
from voiceagent.sandbox.sound import FRAME_BYTES, FRAME_MS, MULAW_SILENCE, loudness, mulaw_encode, read_phone_audio
from voiceagent.sandbox.twilio.resources import new_sid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.conformance.bot import Line
    from tests.conformance.target import Target
    from voiceagent.sandbox.carrier import PhoneCall

E = TypeVar("E", bound=TimelineEvent)

#: Codes of faults that are none: a server may close the stream when it wants the call to end.
_ALLOWED = {31921}
_CLOCK_SLACK_MS = 60


@cache
def audio(name: str) -> bytes:
    """A bundled recording without the silence around it."""
    sound = read_phone_audio(AUDIO / f"{name}.wav")
    frames = [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]
    voiced = [index for index, frame in enumerate(frames) if loudness(frame) > VOICED]
    return b"".join(frames[voiced[0] : voiced[-1] + 1])


@cache
def cough() -> bytes:
    """A burst of noise of 200 ms that begins hard and dies away: no recogniser makes words of it."""
    count = 1600
    noise = np.random.default_rng(7).normal(0, 1, count + 8)
    smooth = np.convolve(noise, np.ones(4) / 4, "same")[:count]
    fade = np.minimum(1, np.arange(count) / 40) * np.exp(-np.arange(count) / 700)
    return mulaw_encode(np.clip(smooth * fade * 22000, -30000, 30000).astype(np.int16))


class Call:
    """A call in progress. ``texts`` are what the bot may say, where that is known."""

    def __init__(self, phone: PhoneCall, target: Target, texts: Sequence[str]) -> None:
        self.phone, self.target = phone, target
        self.known = ears.Vocabulary(texts)
        #: When the greeting was over: what was said before is not judged.
        self.begun_ms = 0.0

    # --- what the caller does -----------------------------------------------------------------------------------------

    @property
    def here(self) -> int:
        """The position in the timeline by now."""
        return len(self.phone.timeline.events)

    @property
    def stream(self) -> MediaStream:
        """The media stream."""
        assert self.phone.stream is not None
        return self.phone.stream

    async def next(
        self, kind: type[E], where: Callable[[E], bool] | None = None, *, after: int = 0, timeout_s: float = 10.0
    ) -> E:
        """The first event of a kind that fits, from a position of the timeline on, or a failed judgement."""

        def fits(event: TimelineEvent) -> bool:
            return isinstance(event, HungUp) or (isinstance(event, kind) and (where is None or where(event)))

        try:
            found = await self.phone.wait_for(TimelineEvent, fits, after=after, timeout_s=timeout_s)
        except TimeoutError:
            raise AssertionError(f"no {kind.__name__} within {timeout_s:g} s: {self.phone.timeline.events}") from None
        assert isinstance(found, kind), f"the call is over: {found}"
        return found

    async def say(self, said: Line | bytes, *, after_ms: float = 0, wait: bool = True) -> int:
        """Say it after a silence; gives the position in the timeline before it."""
        before = self.here
        sound = said if isinstance(said, bytes) else audio(said.audio)
        await self.phone.speak(MULAW_SILENCE * int(after_ms * 8) + sound, wait=wait)
        return before

    async def greeted(self) -> None:
        """Hear the greeting out, if there is one."""
        if not self.target.greeting_ms:
            return
        try:
            await self.phone.wait_for(AgentStarted, timeout_s=self.target.greeting_ms / 1000)
        except TimeoutError:
            return
        await self.finished()
        self.begun_ms = self.phone.timeline.now_ms()

    async def ask(self, line: Line, after_ms: float = 0) -> AgentStarted:
        """Say something; gives the beginning of the answer."""
        return await self.answered(await self.say(line, after_ms=after_ms))

    async def heard_for(self, ms: float, since: AgentStarted) -> None:
        """Let the answer be heard for so long."""
        await self._until(since.at_ms + ms)

    async def _until(self, at_ms: float) -> None:
        await asyncio.sleep(max(0.0, at_ms - self.phone.timeline.now_ms()) / 1000)

    async def interrupt(self, said: Line | bytes) -> float:
        """Speak while the agent speaks; gives the moment of the ``clear``. Returns before the caller is done.

        A bot that keeps nothing at the carrier need not clear; but from the reaction's limit on nothing may be heard.
        """
        before = await self.say(said, wait=False)
        began = await self.next(CallerStarted, after=before)
        try:
            cleared = await self.phone.wait_for(Cleared, after=before, timeout_s=self.target.reaction_ms / 1000)
        except TimeoutError:
            unheard_ms, limit_ms = self.queued_ms, began.at_ms + self.target.reaction_ms
            audible = unheard_ms > FRAME_MS or bool(self.audible_after(limit_ms - FRAME_MS))
            assert not audible, f"no clear within the reaction time, {unheard_ms:.0f} ms of the reply unheard"
            return limit_ms
        return cleared.at_ms

    @asynccontextmanager
    async def another_stream(self, *, fresh: bool) -> AsyncIterator[MediaStream | None]:
        """A second stream of the same call: with the first one's parameters, or (``fresh``) those of a repeated webhook.

        ``None`` where the bot does not take it.
        """
        carrier, noun = self.phone._carrier, self.phone.noun
        if fresh:
            fields = self.phone._reports.fields("ringing")
            answer = await signing.post_signed(
                carrier.session, carrier.voice_url, fields, carrier.auth_token, reach=carrier.reach
            )
            noun = next((verb.stream for verb in twiml.parse(answer[2]) if verb.stream is not None), noun)
        assert noun is not None
        headers = {signing.HEADER: signing.signature(noun.url, {}, carrier.auth_token)}
        try:
            socket = await carrier.session.ws_connect(carrier.reach(noun.url), headers=headers, compress=0)
        except WSServerHandshakeError:
            yield None
            return
        stream = MediaStream(socket, new_sid("MZ"), Timeline(), CarrierFaults())
        await stream.open(carrier.account_sid, self.phone.call_sid, noun.parameters)
        carrier.pacer.add(stream)
        listening = asyncio.create_task(stream.listen())
        yield stream
        await stream.stop(carrier.account_sid, self.phone.call_sid)
        await listening

    # --- what must follow ---------------------------------------------------------------------------------------------

    async def answered(self, after: int) -> AgentStarted:
        """The agent becomes audible after that position of the timeline, in time after the caller's last sound."""
        stopped = await self.next(CallerStopped, after=after)
        patience_s = self.target.answer_ms / 1000
        return await self.next(AgentStarted, lambda it: it.at_ms > stopped.at_ms, after=after, timeout_s=patience_s)

    async def finished(self) -> None:
        """The agent has said all."""
        await self.phone.wait_for_quiet()

    async def says_no_more(self) -> None:
        """Hear the agent out; after that it is quiet."""
        await self.finished()
        after, quiet_until_ms = self.here, self.audible_after(0)[-1] + self.target.quiet_ms
        patience_s = (quiet_until_ms - self.phone.timeline.now_ms()) / 1000
        try:
            more = await self.phone.wait_for(AgentStarted, after=after, timeout_s=patience_s)
        except TimeoutError:
            return
        raise AssertionError(f"the agent spoke again, unasked: {more}")

    async def listens(self, from_ms: float, after: int) -> CallerStopped:
        """No media came from a moment on until the caller's last sound."""
        stopped = await self.next(CallerStopped, after=after)
        late = self.media_between(from_ms, stopped.at_ms)
        assert not late, f"{len(late)} media messages while the caller spoke, from {late[0]:.0f} ms on"
        return stopped

    async def yields(self, after: int) -> float:
        """The caller begins to speak after that position: gives the moment from which nothing is queued any more."""
        began = await self.next(CallerStarted, after=after)
        limit_ms = began.at_ms + self.target.reaction_ms
        await self._until(limit_ms)
        assert self.queued_ms <= FRAME_MS, f"{self.queued_ms:.0f} ms of a reply to half a turn are still to be heard"
        return limit_ms

    async def goes_on(self, cleared: Cleared) -> AgentStarted:
        """The agent speaks again, of itself, soon after a clear."""
        patience_s = self.target.resume_ms / 1000
        resumed = await self.next(AgentStarted, lambda it: it.at_ms > cleared.at_ms, timeout_s=patience_s)
        assert resumed.at_ms - cleared.at_ms <= self.target.resume_ms, "the reply was resumed late"
        return resumed

    async def hears(self, text: str) -> None:
        """The last word of a text has been heard."""
        async with asyncio.timeout(self.target.answer_ms / 1000):
            while ears.spoken(text)[-1] not in self.text():  # noqa: ASYNC110 - it becomes true by time passing
                await asyncio.sleep(0.1)
        await self.finished()

    async def is_ended(self) -> HungUp:
        """The bot ends the call, soon after its last sound."""
        await self.finished()
        over = await self.next(HungUp, timeout_s=self.target.hangup_ms / 1000)
        assert over.by == "server", over
        return over

    def is_up(self) -> None:
        """Nobody has hung up."""
        assert self.phone.is_up, f"the call is over: {self.phone.timeline.last(HungUp)}"

    def kept_the_protocol(self) -> None:
        """The carrier had nothing to complain of."""
        faults = [fault for fault in self.phone.timeline.all(ProtocolFault) if fault.code not in _ALLOWED]
        assert not faults, faults

    # --- what was there to see ----------------------------------------------------------------------------------------

    @property
    def queued_ms(self) -> float:
        """Audio at the carrier that the caller has not heard yet."""
        return self.stream.queue.queued_bytes / 8

    def media_between(self, from_ms: float, to_ms: float) -> list[float]:
        """When media came in this time."""
        return [m.at_ms for m in self.stream.messages if m.event == "media" and from_ms < m.at_ms < to_ms]

    @property
    def opened_ms(self) -> float:
        """When the stream, and so the recording, began."""
        opened = self.phone.timeline.last(StreamOpened)
        assert opened is not None
        return opened.at_ms

    def audible_after(self, ms: float) -> list[float]:
        """The moments from ``ms`` on at which the caller heard something, frame by frame."""
        heard, first = self.phone.heard, max(0, int((ms - self.opened_ms) / FRAME_MS))
        return [
            self.opened_ms + at / FRAME_BYTES * FRAME_MS
            for at in range(first * FRAME_BYTES, len(heard), FRAME_BYTES)
            if loudness(heard[at : at + FRAME_BYTES]) > VOICED
        ]

    def words(self, since_ms: float = 0) -> list[ears.Word]:
        """The words that the caller heard in whole or in part from a moment on, the greeting apart."""
        opened_ms, since_ms = self.opened_ms, max(since_ms, self.begun_ms)
        found = [ears.Word(w.text, w.at_ms + opened_ms, w.ms) for w in self.known.words_in(self.phone.heard)]
        return [word for word in found if not since_ms or word.at_ms >= since_ms + _CLOCK_SLACK_MS]

    def text(self, since_ms: float = 0) -> list[str]:
        """The same, as bare words."""
        return [word.text for word in self.words(since_ms)]

    def heard_exactly(self, *texts: str, since_ms: float = 0) -> None:
        """The caller heard these texts, one after the other, from a moment on, and nothing else."""
        wanted = [word for text in texts for word in ears.spoken(text)]
        assert self.text(since_ms) == wanted

    def heard_once(self, text: str, seams: int = 1) -> None:
        """The whole text was heard, in order; at each seam the word that was cut may be said again."""
        wanted, words = ears.spoken(text), self.text()
        repeated = 0
        at = 0
        for word in words:
            if at < len(wanted) and word == wanted[at]:
                at += 1
            else:
                assert at and word == wanted[at - 1], f"{word!r} does not belong there: {words}"
                repeated += 1
        assert at == len(wanted), f"the rest was never said: {words}"
        assert repeated <= seams, f"words were said twice: {words}"
