"""The metrics of calls, all of them, and the subscriber that observes a call's bus.

Latencies count from the end of the caller's speech (last voiced frame), barge-in from its start (first voiced frame).
No label holds a call, a number or words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from calls.bus import Bus, StepTaken
from calls.core.commands import AskModel, CancelModel, CancelVoice, Clear, EndCall, Intervened, StaleDropped, TurnClosed
from calls.core.events import (
    HangUpAsked,
    MemoryRecalled,
    ModelFinished,
    OperatorListening,
    SpeechStarted,
    TimerFired,
    TurnOpened,
)
from calls.core.recalling import RECALL
from calls.core.replies import WATCH
from calls.core.state import END_REASONS
from calls.latency import answer_latency_ms
from calls.replay.ledger import OUTCOMES, Invariant
from calls.strain import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable

_LATENCY_MS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1500, 2000, 3000, 5000, 10000)
_REACTION_MS = (10, 20, 40, 60, 80, 100, 120, 140, 160, 200, 300, 500, 1000)

TURN_LATENCY = Histogram(
    "turn_latency_ms", "End of the caller's speech to the first frame of the model's reply", buckets=_LATENCY_MS
)
FIRST_AUDIO = Histogram(
    "time_to_first_audio_ms",
    "End of the caller's speech to the first agent frame, fillers included",
    buckets=_LATENCY_MS,
)
BARGE_IN = Histogram(
    "barge_in_reaction_ms", "First voiced frame of an interruption to the clear on the wire", buckets=_REACTION_MS
)
TTS_ERRORS = Counter("cartesia_tts_error", "Failed attempts at the voice, mended ones included", ["kind", "operation"])
STT_ERRORS = Counter(
    "cartesia_stt_error", "Failed attempts at speech recognition, mended ones included", ["kind", "operation"]
)
MODEL_ERRORS = Counter("openai_error", "Failed attempts at the model, mended ones included", ["kind", "operation"])
TWILIO_ERRORS = Counter("twilio_error", "Failed requests to the carrier's REST interface", ["kind", "operation"])

EAR_RECOVERIES = Counter(
    "ear_recoveries",
    "Stretches of a caller's audio transcribed apart: what for, and with what outcome (text, empty, or a kind of failure)",
    ["cause", "outcome"],
)
EAR_AUDIO_DROPPED = Counter("ear_audio_dropped_bytes", "Audio of callers that was let go before any text covered it")

RECALL_MS = Histogram(
    "recall_ms",
    "What the memory needed for a recall before an answer, by the deepest level that gave something to the prompt",
    ["level", "outcome"],
    buckets=(1, 2, 5, 10, 15, 20, 25, 30, 40, 60, 100, 200, 500, 1000),
)
RECALLS_MISSED = Counter(
    "recall_deadline_missed", "Answers that went to the model without waiting longer for the memory"
)

CALLS_LIVE = Gauge("calls_in_progress", "Calls in progress in this process", multiprocess_mode="livesum")
CALLS_CAPACITY = Gauge("calls_capacity", "Calls that this process may carry at once", multiprocess_mode="livesum")
CALLS_OFFERED = Counter("calls_offered", "Calls that rang: signed voice webhooks")
CALLS_ANSWERED = Counter("calls_answered", "Calls whose stream began")
CALLS_REFUSED = Counter("calls_refused", "Calls not answered by an agent", ["why"])
CALLS_OVERLOADED = Counter("calls_refused_overload", "Calls refused as overload, by what was short", ["what"])
CALLS_ENDED = Counter("calls_ended", "Calls by end reason", ["reason"])
UNSIGNED_REQUESTS = Counter("unsigned_requests", "Requests at the carrier's addresses without its signature")
STREAMS_REFUSED = Counter("streams_refused", "Media streams closed before a call began", ["why"])
MESSAGES_BAD = Counter("stream_messages_bad", "Messages of the carrier that could not be used", ["cause"])
STALE = Counter("stale_events_dropped", "Events of an old turn or epoch", ["event"])
STALE_AUDIO = Counter("stale_audio_dropped_bytes", "Audio of a dropped epoch that never reached the carrier")
MAILBOX_DELAY = Histogram(
    "mailbox_delay_ms", "Time an event lay in the mailbox", buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 500)
)
FRAME_LATENESS = Histogram(
    "frame_lateness_ms",
    "How much later than the earliest one, by the carrier's timestamps, a frame of the caller was handled",
    buckets=(1, 2, 5, 10, 20, 40, 60, 100, 200, 500, 1000),
)
MAILBOX_WAITING = Gauge(
    "mailbox_waiting_events", "Events in the mailboxes of all calls, not yet taken", multiprocess_mode="livesum"
)
TURNS = Counter("turns", "Turns by outcome", ["outcome"])
INTERVENTIONS = Counter(
    "operator_interventions", "What operators did to calls, by what became of it", ["action", "outcome"]
)
WASTED = Counter("wasted_characters", "Characters generated and never heard")
WASTED_TOKENS = Counter("wasted_tokens", "Pieces of the model's stream whose text was never heard")
BREAKER_STATE = Gauge(
    "breaker_state",
    "1 for the phase that a circuit breaker is in, else 0",
    ["breaker", "phase"],
    multiprocess_mode="livemax",
)
BREAKER_TRANSITIONS = Counter(
    "breaker_transitions", "Rulings that this process made over a circuit breaker", ["breaker", "phase"]
)
BREAKER_REFUSED = Counter("breaker_refused", "Attempts that an open circuit breaker turned away", ["breaker"])
BREAKERS_ALONE = Gauge(
    "breakers_alone",
    "1 while this process has no news of the others' circuit breakers",
    multiprocess_mode="livemax",
)
TOKENS = Counter(
    "model_tokens",
    "Tokens of finished replies, as the vendor counts them; a reply that was cancelled has no count",
    ["direction"],
)
INVARIANT_VIOLATIONS = Counter(
    "invariant_violations", "Invariants that did not hold, once for each invariant and watched call", ["invariant"]
)
LOG_WAITING = Gauge("event_log_waiting_entries", "Entries of event logs not yet in Redis", multiprocess_mode="livesum")
LOG_DROPPED = Counter("event_log_dropped_entries", "Entries of event logs that are lost for good")
LOOP_LAG = Gauge(
    "event_loop_lag_ms", "How late the event loop ran what was due, worst of the last 5 s", multiprocess_mode="livemax"
)
LOOP_STALLED_MS = Counter(
    "event_loop_stalled_ms", "Time that the event loop stood still for over 50 ms, by place", ["place"]
)
ARCHIVES = Counter("archives", "Attempts to archive a call by their result", ["result"])
SWEPT = Counter("swept", "What the sweeper found that nobody had finished, by what became of it", ["result"])
SPANS_LOST = Counter("trace_spans_lost", "Spans that did not reach the receiver of traces", ["why"])

# A counter that appears with its first event hides that event from a rate: the rare ones exist from the start.
for _reason in END_REASONS:
    CALLS_ENDED.labels(_reason)
for _why in ("no_database", "no_agent", "drain", "overload", "rate"):
    CALLS_REFUSED.labels(_why)
for _measure in ("no_slot", *MEASURES):
    CALLS_OVERLOADED.labels(_measure)
for _outcome in OUTCOMES:
    TURNS.labels(_outcome)
for _action, _became in (
    *(("whisper", became) for became in ("shown", "dropped")),
    *(("say", became) for became in ("said", "cut", "failed", "dropped")),
    *(("take_over", became) for became in ("taken", "refused")),
    *(("hand_back", became) for became in ("done", "refused", "lost")),
    ("listen", "done"),
    ("end", "done"),
):
    INTERVENTIONS.labels(_action, _became)
for _invariant in Invariant:
    INVARIANT_VIOLATIONS.labels(_invariant.name.lower())

_VENDOR_ERRORS = {
    "cartesia.stt": STT_ERRORS,
    "cartesia.stt_batch": STT_ERRORS,
    "cartesia.tts": TTS_ERRORS,
    "openai.reply": MODEL_ERRORS,
    "openai.reply_second": MODEL_ERRORS,
    "openai.embeddings": MODEL_ERRORS,
    "openai.distil": MODEL_ERRORS,
    "twilio.rest": TWILIO_ERRORS,
}


def vendor_failed(operation: str, kind: str) -> None:
    """Count one failed attempt at a vendor, also one that a retry will mend; whoever made the attempt calls this, once.

    ``operation`` is a breaker's name, ``kind`` one of ``calls.providers.errors.KINDS``. What a breaker turned away was no
    attempt. A voice that the core gave up on is counted here as ``overdue``. Raises ``KeyError``.
    """
    _VENDOR_ERRORS[operation].labels(kind, operation).inc()


class CallMetrics:
    """Observes one call. ``now_ms`` is the call's clock."""

    def __init__(self, bus: Bus, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        bus.subscribe(StepTaken, self._step)
        bus.subscribe(TurnClosed, self._turn_closed)
        bus.subscribe(Clear, self._cleared)
        bus.subscribe(StaleDropped, lambda dropped, _: STALE.labels(dropped.event).inc())
        bus.subscribe(EndCall, lambda end, _: CALLS_ENDED.labels(end.reason).inc())
        bus.subscribe(MemoryRecalled, self._recalled)
        bus.subscribe(ModelFinished, self._replied)
        bus.subscribe(Intervened, lambda done, _: INTERVENTIONS.labels(done.action, done.outcome).inc())
        bus.subscribe(OperatorListening, lambda begun, _: INTERVENTIONS.labels("listen", "done").inc(begun.on))
        bus.subscribe(HangUpAsked, lambda asked, _: INTERVENTIONS.labels("end", "done").inc(asked.by == "operator"))

    def _step(self, step: StepTaken, _: StepTaken) -> None:
        MAILBOX_DELAY.observe(step.waited_us / 1000)
        if isinstance(step.event, TimerFired) and step.event.timer == WATCH:
            self._overdue(step)
        elif isinstance(step.event, TimerFired) and step.event.timer == RECALL:
            RECALLS_MISSED.inc(any(isinstance(command, AskModel) for command in step.commands))

    @staticmethod
    def _replied(finished: ModelFinished, _: StepTaken) -> None:
        TOKENS.labels("input").inc(finished.input_tokens)
        TOKENS.labels("cached_input").inc(finished.cached_tokens)
        TOKENS.labels("output").inc(finished.output_tokens)

    @staticmethod
    def _recalled(recalled: MemoryRecalled, _: StepTaken) -> None:
        level = max((item.level for item in recalled.items if item.in_prompt), default="none")
        RECALL_MS.labels(level, recalled.outcome).observe(recalled.took_ms)

    @staticmethod
    def _overdue(step: StepTaken) -> None:
        """The core gave up waiting for a voice whose socket is fine, before the adapter did; a model tells by itself."""
        stopped = [type(command) for command in step.commands if isinstance(command, CancelModel | CancelVoice)]
        if stopped[:1] == [CancelVoice]:
            vendor_failed("cartesia.tts", "overdue")

    def _cleared(self, _clear: Clear, step: StepTaken) -> None:
        event = step.event
        if isinstance(event, SpeechStarted):
            BARGE_IN.observe(max(0, self._now_ms() - event.voiced_at_ms))
        elif isinstance(event, TurnOpened) and step.state.caller.speaking:
            BARGE_IN.observe(max(0, self._now_ms() - step.state.caller.voiced_at_ms))

    def _turn_closed(self, turn: TurnClosed, _: StepTaken) -> None:
        TURNS.labels(turn.outcome).inc()
        WASTED.inc(turn.wasted_chars)
        WASTED_TOKENS.inc(turn.wasted_tokens)
        if turn.kind != "answer" or turn.first_audio_ms < 0 or turn.speech_ended_ms < 0:
            return
        FIRST_AUDIO.observe(max(0, turn.first_audio_ms - turn.speech_ended_ms))
        latency_ms = answer_latency_ms(turn)
        if latency_ms is not None:
            TURN_LATENCY.observe(latency_ms)
