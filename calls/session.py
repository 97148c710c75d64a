"""One call in this process: the actor and the media path around it, from the stream's ``start`` to the archive.

The consumer hands carrier messages in; frames go to the detector, the recogniser and the recorder without passing the
core. The session outlives the socket: what is left to do after a close is done here, not in the consumer.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from opentelemetry import context as contexts
from opentelemetry import trace

from calls import metrics, phrasebook
from calls.actor import Parts, SessionActor
from calls.bus import Bus, StepTaken
from calls.callcheck import CallCheck, is_watched
from calls.calllog import CallLog
from calls.calltrace import CallTrace
from calls.codecs.twilio import Dtmf, Mark, Media, parse_mark_name
from calls.core.events import (
    CarrierGone,
    DtmfPressed,
    MarkReturned,
    OperatorListening,
    SpeechEnded,
    SpeechStarted,
)
from calls.desk import Desk
from calls.listening import Listening
from calls.liverow import identity_of
from calls.mailbox import Clock, Mailbox
from calls.media.gate import Gate
from calls.media.operator import OperatorLine
from calls.media.recorder import Recorder
from calls.media.vad import SpeechDetector
from calls.memoryfeed import MemoryFeed
from calls.metrics import CallMetrics
from calls.microphone import Microphone
from calls.streamcontrol import StreamControl
from calls.tracing import id_of, to_text
from calls.version import SOFTWARE

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from calls.core.events import Event
    from calls.logcontext import CallPlace
    from calls.ports import CarrierOut
    from calls.runtime import Runtime
    from calls.tickets import Ticket

_log = structlog.get_logger(__name__)


#: A frame that comes this much later than the quickest one of its call is late: the recogniser's words come later too.
LATE_MS = 60


@dataclass(slots=True)
class Frames:
    """How a call's frames and events arrived: ``worst_ms`` is the latest frame's lateness, ``waited_ms`` the longest that an
    event lay in the mailbox."""

    frames: int = 0
    late: int = 0
    worst_ms: int = 0
    waited_ms: int = 0

    def arrived(self, late_ms: int) -> None:
        """A frame; the hot path."""
        self.frames += 1
        if late_ms > LATE_MS:
            self.late += 1
        if late_ms > self.worst_ms:
            self.worst_ms = late_ms

    def on_step(self, step: StepTaken, _step: StepTaken) -> None:
        """An event was taken out."""
        self.waited_ms = max(self.waited_ms, step.waited_us // 1000)

    def figures(self) -> dict[str, int]:
        """All of them, by name."""
        return asdict(self)


class Session:
    """Created when a stream has shown its ticket. ``run`` returns when the call is over and its log is complete.

    Of its agent's own phrases it says those whose recordings are in memory now; it keeps them there. ``parent``: where its
    trace goes on; ``place``: what its log lines say of it.
    """

    def __init__(
        self, runtime: Runtime, ticket: Ticket, carrier: CarrierOut, parent: SpanContext, place: CallPlace
    ) -> None:
        agent, self._phrases = phrasebook.hold(ticket.agent)
        self.ticket = ticket = replace(ticket, agent=agent)
        self._trace = parent
        self._runtime = runtime
        self._carrier = carrier
        self._clock = clock = Clock(asyncio.get_running_loop().time)
        self._mailbox = mailbox = Mailbox(clock)
        self._bus = bus = Bus(self._subscriber_failed)
        self._recorder = Recorder(
            runtime.recordings_dir,
            ticket.call_sid,
            clock.now_ms,
            runtime.disk,
            lambda at_ms: self._log.add_fact("sound_from_ms", str(at_ms)),
        )
        self.listening = Listening(
            ticket.call_sid,
            self._recorder,
            runtime.redis,
            lambda by, on: mailbox.post(OperatorListening(by=by, on=on)),
        )
        gate = Gate(carrier, mailbox.post, self._recorder, metrics.STALE_AUDIO.inc)
        self._ear = runtime.make_ear(ticket.agent, mailbox.post)
        self._voice = runtime.make_voice(ticket.agent, gate, mailbox.post)
        self._detector = SpeechDetector(self._detected, runtime.vad, runtime.windows)
        memory = runtime.open_memory(ticket)
        self._memory = MemoryFeed(memory, bus, mailbox.post, ticket.call_sid) if memory is not None else None
        control = StreamControl(carrier) if ticket.is_test else runtime.control
        parts = Parts(self._ear, self._voice, runtime.model, control, carrier, gate, runtime.run_tool, memory)
        today = datetime.now(UTC).strftime("%A, %d %B %Y")
        recall_ms = runtime.conf.limits.recall_ms
        self.actor = SessionActor(ticket.call_sid, ticket.agent, parts, mailbox, clock, bus, today, recall_ms)
        self.operator = OperatorLine(gate, bus, mailbox.post, lambda: self.actor.state, clock.now_ms)
        self._microphone = Microphone(ticket.call_sid, runtime.redis, self.operator, bus)
        self.desk = Desk(
            bus, mailbox.post, lambda: self.actor.state, lambda: runtime.operators_changed(ticket.call_sid)
        )
        self._log = runtime.log_writer.open(ticket.call_sid, self._meta())
        bus.subscribe(StepTaken, self._log.on_step)
        bus.subscribe(SpeechStarted, runtime.warm_model)
        bus.subscribe(StepTaken, lambda step, _: runtime.registry.observe("mailbox_delay", step.waited_us / 1000))
        if not ticket.is_test:
            CallMetrics(bus, clock.now_ms)
        CallLog(bus, ticket, place)
        model = ticket.agent.model or runtime.conf.openai.model
        if runtime.feed is not None:
            runtime.feed.open(identity_of(ticket, model, time.time_ns() // 1_000_000), bus)
        self._spans: CallTrace | None = None
        if (tracing := runtime.traces.on) is not None:
            models = model, runtime.conf.cartesia.tts_model
            self._spans = CallTrace(bus, ticket, parent, tracing, models, time.time_ns())
        if is_watched(ticket.call_sid, runtime.conf.check_share):
            CallCheck(bus, ticket.call_sid, self._log.add_fact)
        self._gone = False
        self._last_media_ms = 0
        self._least_delay_ms = 1 << 62
        self._frames = Frames()
        bus.subscribe(StepTaken, self._frames.on_step)
        self._watch: asyncio.TimerHandle | None = None
        self._remembering: asyncio.Task[None] | None = None

    # --- from the carrier ---------------------------------------------------------------------------------------------

    def media(self, media: Media) -> None:
        """A frame of the caller: the hot path."""
        if self._gone:
            return
        now_ms = self._clock.now_ms()
        self._last_media_ms = now_ms
        delay_ms = now_ms - media.timestamp_ms
        if delay_ms < self._least_delay_ms:
            self._least_delay_ms = delay_ms
        late_ms = delay_ms - self._least_delay_ms
        if not self.ticket.is_test:  # its network is what the operator set it to be
            metrics.FRAME_LATENESS.observe(late_ms)
        self._frames.arrived(late_ms)
        self._ear.feed(media.payload)
        self._recorder.heard(media.timestamp_ms, media.payload)
        self._detector.feed(media.payload, now_ms)

    def _detected(self, event: Event) -> None:
        """The detector's verdict: for the core, and for the ear, which must have words for what it heard."""
        self._mailbox.post(event)
        now_ms = self._clock.now_ms()
        if isinstance(event, SpeechStarted):
            self._ear.voice_began(now_ms - event.voiced_at_ms)
        elif isinstance(event, SpeechEnded):
            self._ear.voice_ended(now_ms - event.voiced_until_ms)

    def mark(self, mark: Mark) -> None:
        """A playback mark came back. Names that are not ours are counted."""
        name = parse_mark_name(mark.name)
        if name is None:
            metrics.MESSAGES_BAD.labels("foreign_mark").inc()
        else:
            self._mailbox.post(MarkReturned(turn=name.turn, epoch=name.epoch, piece=name.piece))

    def dtmf(self, dtmf: Dtmf) -> None:
        """The caller pressed a key."""
        self._mailbox.post(DtmfPressed(digit=dtmf.digit))

    def gone(self, how: str) -> None:
        """The stream is over, for the first of the reasons that arrives."""
        if not self._gone:
            self._gone = True
            self._mailbox.post(CarrierGone(how=how))

    # --- the call -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the call, then finish its recording and its log, whatever happened."""
        if self._spans is not None:
            contexts.attach(self._spans.context)
        self._watch_media()
        end_reason = "internal_error"
        try:
            if self._memory is not None:
                await self._memory.greet()
                self._remembering = asyncio.ensure_future(self._memory.run())
            end_reason = await self.actor.run()
        except (Exception, BaseExceptionGroup):  # noqa: BLE001 - a library's panic is no Exception; the record goes on
            _log.exception("call.crashed", call_sid=self.ticket.call_sid)
            metrics.CALLS_ENDED.labels(end_reason).inc()
        finally:
            await self._finish(end_reason)

    async def _finish(self, end_reason: str) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._gone = True
        if self._runtime.feed is not None:
            self._runtime.feed.close(self.ticket.call_sid, end_reason)
        self.operator.close()
        self._microphone.close()
        self._runtime.operators_changed(self.ticket.call_sid)
        with suppress(Exception):
            self._carrier.close()
        if self._remembering is not None:
            self._remembering.cancel()
        for closing in (
            self.listening.aclose,
            self._ear.aclose,
            self._voice.aclose,
            *([self._memory.aclose] if self._memory else []),
        ):
            try:
                await closing()
            except Exception as error:  # noqa: BLE001 - closing one part must not keep the others open
                _log.warning("call.close_failed", call_sid=self.ticket.call_sid, error=type(error).__name__)
        try:
            await asyncio.wrap_future(self._recorder.close())
        except Exception as error:  # noqa: BLE001 - without its sound the call is still a call on record
            _log.error("recording.lost", call_sid=self.ticket.call_sid, error=str(error))
        if self._spans is not None:
            self._close_trace(self._spans, end_reason)
        self._log.add_fact("audio", json.dumps(self._frames.figures() | {"dropped": self._ear.dropped_frames}))
        await self._log.aclose(end_reason)

    def _watch_media(self) -> None:
        """A carrier that sends nothing for long has lost the call: it sends frames in silence too."""
        limit_ms = self._runtime.conf.limits.media_silence_ms
        quiet_ms = self._clock.now_ms() - self._last_media_ms
        if quiet_ms >= limit_ms:
            self.gone("silent")
            return
        self._watch = asyncio.get_running_loop().call_later((limit_ms - quiet_ms) / 1000 + 0.05, self._watch_media)

    def _close_trace(self, spans: CallTrace, end_reason: str) -> None:
        """What the archive does with the call belongs to its trace, if that is kept."""
        try:
            kept, self._trace = spans.close(end_reason, time.time_ns())
        except Exception as error:  # noqa: BLE001 - a trace may be lost, a record may not
            _log.error("trace.lost", call_sid=self.ticket.call_sid, error=type(error).__name__)
            return
        contexts.attach(trace.set_span_in_context(trace.NonRecordingSpan(self._trace)))
        if kept:
            self._log.add_fact("trace_kept", to_text(self._trace))

    def _subscriber_failed(self, error: BaseException) -> None:
        _log.error("bus.subscriber_failed", call_sid=self.ticket.call_sid, exc_info=error)

    def _meta(self) -> dict[str, str]:
        ticket = self.ticket
        return {
            "from_number": ticket.from_number,
            "to_number": ticket.to_number,
            "account_sid": ticket.account_sid,
            "direction": ticket.direction,
            "agent_version_id": str(ticket.agent_version_id),
            "started_wall_ms": str(int(datetime.now(UTC).timestamp() * 1000)),
            "process": self._runtime.process_name,
            "recording": ticket.call_sid,
            "trace_id": id_of(self._trace),
            "software": SOFTWARE,
            **{name: "1" for name in ("is_test", "reads_only") if getattr(ticket, name)},
        }
