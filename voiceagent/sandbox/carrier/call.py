"""One simulated phone call: webhook, TwiML, media stream, REST updates, callbacks, hang-up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from voiceagent.sandbox.carrier import events, signing, twiml
from voiceagent.sandbox.carrier.endings import CallFailedError, Over, why
from voiceagent.sandbox.carrier.faults import CarrierFaults
from voiceagent.sandbox.carrier.reports import Reports
from voiceagent.sandbox.carrier.signing import HEADER
from voiceagent.sandbox.carrier.stream import MediaStream
from voiceagent.sandbox.carrier.timeline import Timeline
from voiceagent.sandbox.twilio.resources import new_sid

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.carrier.network import Carrier

E = TypeVar("E", bound=events.TimelineEvent)
_SAY_MS_PER_CHAR = 10
_DIAL_S = 0.2
# What a `w` among the keys means to the carrier.
_KEY_PAUSE_S = 0.5


class PhoneCall:
    """See :mod:`voiceagent.sandbox.carrier`. Made by :meth:`Carrier.call`."""

    def __init__(
        self,
        carrier: Carrier,
        caller: str,
        called: str,
        *,
        call_sid: str | None = None,
        direction: str = "inbound",
        faults: CarrierFaults | None = None,
        listener: Callable[[events.TimelineEvent], None] | None = None,
        keep_audio: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._carrier = carrier
        self.caller, self.called = caller, called
        self.call_sid = call_sid or new_sid("CA")
        self.direction = direction
        self.faults = faults or CarrierFaults()
        self.timeline = Timeline(listener)
        self.status = "queued"
        self.stream: MediaStream | None = None
        self.noun: twiml.StreamNoun | None = None
        self._keep_audio = keep_audio
        self._task: asyncio.Task[None] | None = None
        self._updates: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answered_at: float | None = None
        self.options = options or {}
        self._reports = Reports(self, carrier)
        self._over: Over | None = None
        self._record = False

    # What a test or a person does ------------------------------------------------------------------------------------

    async def start(self, timeout_s: float = 20.0) -> None:
        """Ring, and wait until the stream has started. Raises :class:`CallFailedError` if it does not come to that."""
        self._task = asyncio.create_task(self.run())
        opened = asyncio.create_task(self.wait_for(events.StreamOpened, timeout_s=timeout_s))
        await asyncio.wait({self._task, opened}, return_when=asyncio.FIRST_COMPLETED)
        if opened.done() and not opened.cancelled() and opened.exception() is None:
            return
        opened.cancel()
        await asyncio.gather(opened, return_exceptions=True)
        if self._over is None and self._task.done():
            self._task.result()  # an error of our own: not to be taken for the server's
        raise CallFailedError(self._over.reason if self._over else "the server did not open a stream in time")

    async def speak(self, audio: bytes, label: str = "", *, wait: bool = True) -> None:
        """Say mu-law audio after what is already being said; waits until its last frame has been sent."""
        if self.stream is None:
            raise CallFailedError("there is no stream to speak on")
        spoken = self.stream.say(audio, label)
        if wait:
            await spoken

    async def dtmf(self, digits: str, gap_ms: float = 150) -> None:
        """Press keys; a ``w`` among them is a pause of half a second."""
        for digit in digits:
            if digit == "w":
                await asyncio.sleep(_KEY_PAUSE_S)
                continue
            if self.stream is not None:
                await self.stream.press(digit)
            await asyncio.sleep(gap_ms / 1000)

    async def hang_up(self) -> None:
        """The caller hangs up; returns when the callbacks have been delivered."""
        await self._updates.put({"hang_up": "caller"})
        await self.wait_until_over()

    async def wait_until_over(self, timeout_s: float = 20.0) -> events.HungUp:
        """The end of the call, whoever brings it about. Raises ``TimeoutError``."""
        assert self._task is not None, "the call was not started"  # noqa: S101
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(self._task)
        return self.timeline.all(events.HungUp)[-1]

    async def wait_for(self, kind: type[E], where: Callable[[E], bool] | None = None, **options: Any) -> E:
        """See :meth:`Timeline.wait_for`."""
        return await self.timeline.wait_for(kind, where, **options)

    async def wait_for_quiet(self, timeout_s: float = 60.0) -> None:
        """Until the agent, if it is speaking, has been silent for a while with nothing left to play."""
        async with asyncio.timeout(timeout_s):
            while self.agent_speaks:  # noqa: ASYNC110
                # Polled at the rate of frames: it becomes true by time passing, not by an event.
                await asyncio.sleep(0.02)

    @property
    def agent_speaks(self) -> bool:
        """Whether the caller hears the agent, short pauses included."""
        stream = self.stream
        return self.is_up and stream is not None and (stream._agent_speaks or stream.queue.queued_bytes > 0)

    @property
    def agent_heard_ms(self) -> float:
        """When the caller last heard the agent's voice, on the timeline; 0 before the first time."""
        return self.stream._agent_loud_ms if self.stream else 0.0

    @property
    def is_up(self) -> bool:
        """Whether the call is in progress."""
        return self._over is None

    @property
    def heard(self) -> bytes:
        """Mu-law that the caller heard, from the start of the stream, silence included."""
        return bytes(self.stream.heard) if self.stream else b""

    @property
    def said(self) -> bytes:
        """Mu-law that the caller said, aligned with :attr:`heard`."""
        return bytes(self.stream.said) if self.stream else b""

    async def on_update(self, message: dict[str, Any]) -> None:
        """What the REST API asks of this call."""
        if message["type"] == "record":
            self._record = True
        else:
            await self._updates.put(message)

    # What the network does -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole call."""
        try:
            await self._carrier.register(self)
            await self._reports.progress("initiated")
            await self._reports.progress("ringing")
            verbs = await self._first_document()
            while True:
                verbs = await self._execute(verbs)
        except Over as over:
            await self._end(over)
        except asyncio.CancelledError:
            await self._end(Over("network", "cancelled"))
            raise

    async def _first_document(self) -> list[twiml.Verb]:
        inline = self.options.get("Twiml")
        if self.direction == "inbound":
            url = self._carrier.voice_url
            if self.faults.webhook_retry:
                await self._fetch(url, "ringing")
            return await self._fetch(url, "ringing")
        await self._answer()
        if inline and not self.options.get("Url"):
            return self._parse(inline)
        return await self._fetch(self.options["Url"], "in-progress")

    async def _answer(self) -> None:
        if self.answered_at is None:
            self.answered_at = time.time()
            self.status = "in-progress"
            await self._carrier.report(self)
            await self._reports.progress("answered")

    async def _fetch(self, url: str, status: str, more: dict[str, str] | None = None) -> list[twiml.Verb]:
        begun = self.timeline.now_ms()
        try:
            answer, content_type, body = await self._reports.post(url, {**self._reports.fields(status), **(more or {})})
        except TimeoutError:
            raise Over("network", f"11205: {url} did not answer within 15 s", "failed") from None
        except aiohttp.ClientError as error:
            raise Over("network", f"11205: {url} could not be reached: {why(error)}", "failed") from None
        took_ms = round(self.timeline.now_ms() - begun, 1)
        if answer != 200:
            self.timeline.add(events.WebhookAnswered, url, answer, took_ms, ())
            raise Over("network", f"11200: the webhook {url} answered {answer}", "failed")
        if content_type not in ("text/xml", "application/xml"):
            raise Over("network", f"12300: the webhook answered {content_type}", "failed")
        verbs = self._parse(body)
        self.timeline.add(events.WebhookAnswered, url, answer, took_ms, tuple(verb.name for verb in verbs))
        return verbs

    def _parse(self, document: str) -> list[twiml.Verb]:
        try:
            return twiml.parse(document)
        except twiml.TwimlError as error:
            raise Over("network", f"{error.code}: {error}", "failed") from None

    async def _execute(self, verbs: list[twiml.Verb]) -> list[twiml.Verb]:
        """Run a document; what runs after it. Raises :class:`Over` at the end of the call."""
        for verb in verbs:
            if verb.name == "Reject":
                raise Over(
                    "server", f"rejected ({verb.reason or 'rejected'})", "busy" if verb.reason == "busy" else "failed"
                )
            await self._answer()
            following = await self._run_verb(verb)
            if following is not None:
                return following
        raise Over("server", "no verb is left")

    async def _run_verb(self, verb: twiml.Verb) -> list[twiml.Verb] | None:
        if verb.name == "Hangup":
            raise Over("server", "<Hangup>")
        if verb.name == "Redirect":
            return await self._fetch(self._absolute(verb.text), "in-progress")
        if verb.name in ("Say", "Play"):
            self.timeline.add(events.Said, verb.text)
            return await self._pause(len(verb.text) * _SAY_MS_PER_CHAR / 1000)
        if verb.name == "Pause":
            return await self._pause(verb.length_s)
        if verb.name == "Dial":
            return await self._dial(verb)
        if verb.name == "Connect" and verb.stream is not None:
            return await self._connect(verb, verb.stream)
        return None

    async def _pause(self, seconds: float) -> list[twiml.Verb] | None:
        """Let time pass; an update or a hang-up ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._obey(await self._updates.get())
        return None

    async def _dial(self, verb: twiml.Verb) -> list[twiml.Verb] | None:
        result = self._carrier.dial_results.get(verb.number or "", "completed")
        self.timeline.add(events.Dialed, verb.number or "", result)
        following = await self._pause(_DIAL_S)
        if following is not None:
            return following
        if verb.action:
            bridged = result == "completed"
            more = {
                "DialCallStatus": result,
                "DialCallSid": new_sid("CA"),
                "DialCallDuration": "1" if bridged else "0",
                "DialBridged": "true" if bridged else "false",
            }
            return await self._act(verb.action, more)
        return None

    async def _act(self, action: str, more: dict[str, str] | None = None) -> list[twiml.Verb]:
        url = self._absolute(action)
        verbs = await self._fetch(url, "in-progress", more)
        self.timeline.add(events.ActionRequested, url, 200)
        return verbs

    def _absolute(self, url: str) -> str:
        return self._carrier.absolute(url)

    async def _connect(self, verb: twiml.Verb, noun: twiml.StreamNoun) -> list[twiml.Verb] | None:
        stream = await self._open_stream(noun)
        if stream is not None:
            following = await self._stream_until_over(stream, noun)
            if following is not None:
                return following
        return await self._act(verb.action) if verb.action else None

    async def _open_stream(self, noun: twiml.StreamNoun) -> MediaStream | None:
        self.noun = noun
        token = "forged" if self.faults.forged_upgrade else self._carrier.auth_token
        headers = {} if self.faults.unsigned else {HEADER: signing.signature(noun.url, {}, token)}
        try:
            async with asyncio.timeout(10):
                socket = await self._carrier.session.ws_connect(
                    self._carrier.reach(noun.url), headers=headers, compress=0, autoping=True, max_msg_size=16 << 20
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = why(error)
            self.timeline.add(events.StreamRefused, noun.url, reason)
            self.timeline.add(events.ProtocolFault, 31920, f"the stream was not accepted: {reason}")
            await self._reports.stream_status(noun, "", "stream-error", reason)
            return None
        stream = MediaStream(socket, new_sid("MZ"), self.timeline, self.faults, self._keep_audio)
        parameters = noun.parameters if self.faults.replayed_parameters is None else self.faults.replayed_parameters
        await stream.open(self._carrier.account_sid, self.call_sid, parameters)
        self.stream = stream
        self.timeline.add(events.StreamOpened, noun.url, stream.stream_sid)
        self._carrier.pacer.add(stream)
        self._carrier.spawn(self._reports.stream_status(noun, stream.stream_sid, "stream-started"))
        return stream

    async def _stream_until_over(self, stream: MediaStream, noun: twiml.StreamNoun) -> list[twiml.Verb] | None:
        listening = asyncio.create_task(stream.listen())
        try:
            while True:
                update = asyncio.create_task(self._updates.get())
                await asyncio.wait({listening, update}, return_when=asyncio.FIRST_COMPLETED)
                if update.done():
                    try:
                        following = await self._obey(update.result(), stream)
                    except Over:
                        self.timeline.add(events.StreamClosed, "caller", None)
                        raise
                    if following is not None:
                        self.timeline.add(events.StreamClosed, "redirect", None)
                        return following
                    continue
                update.cancel()
                by, code = listening.result()
                self.timeline.add(events.StreamClosed, by, code)
                if by == "server":
                    self.timeline.add(events.ProtocolFault, 31921, "the stream was closed by the server")
                return None
        finally:
            await stream.stop(self._carrier.account_sid, self.call_sid)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            self._carrier.spawn(self._reports.stream_status(noun, stream.stream_sid, "stream-stopped"))

    async def _obey(self, message: dict[str, Any], stream: MediaStream | None = None) -> list[twiml.Verb] | None:
        """Carry out a hang-up or a REST update."""
        if message.get("hang_up"):
            raise Over("caller", "the caller hung up")
        if message.get("status"):
            self.timeline.add(events.Updated, message["status"])
            raise Over("server", f"REST Status={message['status']}", message["status"])
        if stream is not None:
            await stream.stop(self._carrier.account_sid, self.call_sid)
        if message.get("twiml"):
            self.timeline.add(events.Updated, "twiml")
            return self._parse(message["twiml"])
        self.timeline.add(events.Updated, "url")
        return await self._fetch(message["url"], "in-progress")

    async def _end(self, over: Over) -> None:
        self._over = over
        self.status = over.status
        self.timeline.add(events.HungUp, over.by, over.reason)
        if self._record:
            await self._carrier.hand_over_audio(self)
        await self._carrier.report(self)
        await self._reports.progress("completed")
        self._carrier.forget(self)
