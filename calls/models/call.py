"""What happened: calls, their turns, every event and command, and the recording.

Rows are written by ``calls.services`` only. Times ending in ``_ms`` are milliseconds on the call's own clock,
which starts with its first event.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from calls.models.agent import AgentVersion
from calls.models.outcomes import outcome_column

NUMBER_LENGTH = 255
TRACE_ID_LENGTH = 32
VERSION_LENGTH = 40
_WORD_LENGTH = 80


class Call(models.Model):
    """One phone call, from ring to archive.

    ``violations`` lists ``{"invariant": name, "step": number}`` where the invariants were watched as it happened;
    ``state_layout`` is what the digests of its events are over. ``remember_due_at``: when what was said is handed to the
    memory, at the earliest; empty where it was, or where nothing is to be remembered. ``trace_id`` stands in the call's log
    lines too; ``audio``: how its frames arrived (``calls.session.Frames``, and ``dropped``: those that a slow recogniser lost);
    ``trace_kept`` says that its trace was exported. ``is_test``: an operator called from the console; it counts in no
    objective.

    What the list of calls filters by beside that is put here when the call is archived (``calls.services.findable``), so that a
    search reads one table. ``meaning_due_at``: when its turns are embedded, at the earliest; empty where they are.
    """

    class Status(models.TextChoices):
        """How far it got. What the carrier says is kept apart, in ``carrier_status``."""

        RINGING = "ringing", "ringing"
        IN_PROGRESS = "in_progress", "in progress"
        ENDED = "ended", "ended"

    call_sid = models.CharField("call id", max_length=64, unique=True)
    account_sid = models.CharField("account id", max_length=64, blank=True)
    agent_version = models.ForeignKey(
        AgentVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="calls", verbose_name="agent"
    )
    from_number = models.CharField("from", max_length=NUMBER_LENGTH, blank=True)
    to_number = models.CharField("to", max_length=NUMBER_LENGTH, blank=True)
    caller_key = models.CharField(max_length=64, blank=True, db_index=True)
    direction = models.CharField(max_length=32, blank=True)
    is_test = models.BooleanField("test", default=False, db_default=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.RINGING)
    end_reason = models.CharField(max_length=40, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.PositiveBigIntegerField("duration", null=True, blank=True)
    turn_count = models.PositiveIntegerField("turns", default=0)
    barge_in_count = models.PositiveIntegerField("barge-ins", default=0)
    latency_median_ms = models.PositiveIntegerField("median latency", null=True, blank=True)
    latency_max_ms = models.PositiveIntegerField("longest latency", null=True, blank=True)
    error_count = models.PositiveIntegerField("errors", default=0)
    carrier_status = models.CharField(max_length=16, blank=True)
    carrier_sequence = models.IntegerField(default=-1)
    carrier_status_at = models.DateTimeField(null=True, blank=True)
    carrier_duration_s = models.PositiveIntegerField("carrier's duration (s)", null=True, blank=True)
    sip_response_code = models.PositiveSmallIntegerField("SIP response", null=True, blank=True)
    process = models.CharField(max_length=255, blank=True)
    trace_id = models.CharField("trace", max_length=TRACE_ID_LENGTH, blank=True, default="", db_default="")
    trace_kept = models.BooleanField("trace exported", default=False, db_default=False)
    entry_count = models.PositiveIntegerField("log entries", default=0)
    broken_count = models.PositiveIntegerField("broken log entries", default=0)
    state_layout = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), editable=False)
    audio = models.JSONField(
        "how its frames arrived", default=dict, db_default=Value({}, models.JSONField()), editable=False
    )
    checked = models.BooleanField("invariants watched", default=False, db_default=False)
    violations = models.JSONField("invariants violated", default=list, db_default=Value([], models.JSONField()))
    archived_at = models.DateTimeField("archived", null=True, blank=True)
    remember_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    outcome = outcome_column()
    latency_p95_ms = models.PositiveIntegerField("p95 latency", null=True, blank=True)
    language = models.CharField(max_length=16, blank=True, default="", db_default="")
    is_returning = models.BooleanField("caller was here before", null=True, blank=True)
    has_operator = models.BooleanField("operator involved", default=False, db_default=False)
    has_recording = models.BooleanField("recorded", default=False, db_default=False)
    recalled_count = models.PositiveIntegerField("memories used", default=0, db_default=0)
    error_kinds = ArrayField(models.CharField(max_length=_WORD_LENGTH), default=list, db_default=[], blank=True)
    fallbacks = ArrayField(models.CharField(max_length=_WORD_LENGTH), default=list, db_default=[], blank=True)
    software_version = models.CharField(max_length=VERSION_LENGTH, blank=True, default="", db_default="")
    meaning_due_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["-started_at", "-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(call_sid=""), name="call_has_an_id"),
            models.CheckConstraint(
                condition=Q(status__in=["ringing", "in_progress", "ended"]), name="call_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="ended") | (Q(ended_at__isnull=False) & ~Q(end_reason="")),
                name="call_ended_says_when_and_why",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-started_at", "-id"], name="call_newest"),
            models.Index(fields=["to_number", "-started_at"], name="call_by_line"),
            models.Index(fields=["from_number", "-started_at"], name="call_by_caller"),
            models.Index(fields=["end_reason", "-started_at"], name="call_by_end"),
            models.Index(fields=["started_at"], name="call_open", condition=Q(archived_at__isnull=True)),
            models.Index(
                fields=["remember_due_at"], name="call_to_remember", condition=Q(remember_due_at__isnull=False)
            ),
            models.Index(fields=["meaning_due_at"], name="call_to_embed", condition=Q(meaning_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.call_sid

    @property
    def sound_from_ms(self) -> int:
        """Where its recording begins on its clock; 0 without one."""
        recording: Recording | None = getattr(self, "recording", None)
        return recording.starts_at_ms if recording else 0


class Turn(models.Model):
    """One exchange: what the caller said, what was generated, and how much of it was heard. ``began_ms``: when the caller
    began to speak, empty where they said nothing.

    ``recalled`` is what of the caller's memory was found for it (``calls.services.timeline.TurnFacts``), empty without one.
    ``causes`` is what failed in it, mended or not, in order (``calls.core.commands.TurnClosed``). ``turn_end_wait_ms``,
    ``model_wait_ms`` and ``voice_wait_ms`` are what its latency is made of (``calls.timeline_turns.Waits``); ``stopped_after_ms`` is
    how long after the caller's first sound it was silent.
    """

    class Outcome(models.TextChoices):
        """The one way in which it ended."""

        ANSWERED = "answered", "answered"
        INTERRUPTED = "interrupted", "interrupted"
        SUPERSEDED = "superseded", "superseded"
        FAILED = "failed_to_fallback", "failed to fallback"
        CALL_ENDED = "call_ended", "call ended"
        OVERRIDDEN = "overridden", "overridden by an operator"
        WITH_OPERATOR = "with_operator", "with an operator"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=16)
    outcome = models.CharField(max_length=24, choices=Outcome)
    interrupted = models.BooleanField(default=False)
    user_text = models.TextField("caller said", blank=True)
    generated_text = models.TextField("agent generated", blank=True)
    heard_text = models.TextField("caller heard", blank=True)
    began_ms = models.PositiveBigIntegerField(null=True, blank=True)
    speech_ended_ms = models.PositiveBigIntegerField(null=True, blank=True)
    committed_ms = models.PositiveBigIntegerField(null=True, blank=True)
    first_audio_ms = models.PositiveBigIntegerField(null=True, blank=True)
    closed_ms = models.PositiveBigIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField("latency", null=True, blank=True)
    turn_end_wait_ms = models.PositiveIntegerField("wait for the end of the turn", null=True, blank=True)
    model_wait_ms = models.PositiveIntegerField("wait for the model", null=True, blank=True)
    voice_wait_ms = models.PositiveIntegerField("wait for the voice", null=True, blank=True)
    stopped_after_ms = models.PositiveIntegerField("silent after an interruption", null=True, blank=True)
    wasted_chars = models.PositiveIntegerField(default=0)
    wasted_tokens = models.PositiveIntegerField(default=0)
    spoken_words = models.JSONField("what became of each word", default=list, blank=True)
    recalled = models.JSONField("what was recalled", default=dict, db_default=Value({}, models.JSONField()), blank=True)
    causes = models.JSONField("what failed", default=list, db_default=Value([], models.JSONField()), blank=True)
    words = models.GeneratedField(
        expression=SearchVector("user_text", "heard_text", config="simple"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        ordering: ClassVar = ["call", "number"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["call", "number"], name="turn_number_once")]
        indexes: ClassVar = [GinIndex(fields=["words"], name="turn_words")]

    def __str__(self) -> str:
        return f"turn {self.number}"


class CallEvent(models.Model):
    """One entry of the log: an event that came in, or a command that the core gave.

    ``error`` is set where the entry could not be read; ``data`` then holds what was there. ``digest`` is of the state
    after the step, with the last event of what was written at once.
    """

    class Kind(models.TextChoices):
        """What the entry is."""

        EVENT = "event", "event"
        COMMAND = "command", "command"
        BROKEN = "broken", "broken"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    step = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind)
    type = models.CharField(max_length=40)
    at_ms = models.PositiveBigIntegerField()
    at = models.DateTimeField("time")
    mode = models.CharField(max_length=16, blank=True)
    turn = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=16, blank=True, db_default="")
    data = models.JSONField()
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering: ClassVar = ["call", "seq"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["call", "seq"], name="call_event_seq_once")]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"


class Recording(models.Model):
    """Both sides of a call as a stereo WAV: caller left, agent right. ``file`` is relative to the recordings folder.

    ``starts_at_ms`` is where its first sample lies on the call's clock; below 0 where the stream was older than the call.
    """

    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="recording")
    file = models.CharField(max_length=120)
    duration_ms = models.PositiveBigIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    starts_at_ms = models.IntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.file


class Waveform(models.Model):
    """What a recording looks like: its peaks by side, one byte for 20 ms, and figures (``calls.media.peaks``).

    A row of its own, because lists of calls read their recordings and an hour of peaks is 360 kB.
    """

    recording = models.OneToOneField(Recording, primary_key=True, on_delete=models.CASCADE, related_name="waveform")
    caller = models.BinaryField()
    agent = models.BinaryField()
    figures = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"waveform of {self.recording_id}"
