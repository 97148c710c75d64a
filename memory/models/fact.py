"""What was distilled: facts with their lives, where each comes from, and what happened to it."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now
from pgvector.django import VectorField

from memory.core.values import Kind, Status
from memory.ids import new_id
from memory.models.caller import LOCAL_DIMENSIONS, OPENAI_DIMENSIONS, Caller, Utterance

FACT_KINDS = [(kind.value, kind.value) for kind in Kind if kind is not Kind.UTTERANCE]


class _Validity(Func):
    """The time in which a fact is true: from its beginning until just before its end."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class Memory(models.Model):
    """One fact, on two time axes: true in the world from ``valid_from`` until ``valid_to``, known to us from
    ``recorded_at`` until ``retired_at``.

    Nothing is overwritten: a new value of a single-valued slot ends the older row's validity and names itself in
    ``superseded_by``; a correction retires the wrong row. ``value_hash`` and ``content_hash`` are
    ``DataKey.digest`` of the normalised value and of ``memory.core.decisions.fingerprint``, what makes it the same fact. ``single``: the slot has one value
    at a time, which the database enforces. ``pinned_at``: an operator wants it told in every call, and it does not expire.
    ``forgotten_at``: it was set aside, retired until it is brought back or erased (``memory.services.forgetting``).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    caller = models.ForeignKey(Caller, on_delete=models.CASCADE, related_name="memories")
    kind = models.CharField(max_length=12, choices=FACT_KINDS)
    slot = models.CharField(max_length=80, blank=True)
    single = models.BooleanField("one value at a time", default=False)
    text_sealed = models.BinaryField()
    value_sealed = models.BinaryField(default=b"")
    value_hash = models.CharField(max_length=64, blank=True)
    content_hash = models.CharField(max_length=64)
    importance = models.FloatField(default=0.5)
    confidence = models.FloatField(default=0.9)
    status = models.CharField(max_length=12, choices=[(s.value, s.value) for s in Status], default=Status.ACTIVE.value)
    valid_from = models.DateTimeField("true from")
    valid_to = models.DateTimeField("true until", null=True, blank=True)
    recorded_at = models.DateTimeField("recorded", db_default=Now())
    retired_at = models.DateTimeField("retired", null=True, blank=True)
    superseded_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="supersedes"
    )
    expires_at = models.DateTimeField("expires", null=True, blank=True)
    pinned_at = models.DateTimeField("pinned", null=True, blank=True)
    forgotten_at = models.DateTimeField("forgotten", null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField("last used", null=True, blank=True)
    extractor = models.CharField(max_length=120, blank=True)
    words = SearchVectorField(null=True)
    vector = VectorField(dimensions=LOCAL_DIMENSIONS, null=True)
    vector_model = models.CharField(max_length=80, blank=True)
    openai_vector = VectorField(dimensions=OPENAI_DIMENSIONS, null=True)
    openai_model = models.CharField(max_length=80, blank=True)

    class Meta:
        default_permissions = ()
        verbose_name = "fact"
        ordering: ClassVar = ["caller", "slot", "-valid_from"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["id", "caller"], name="memory_of_caller"),
            models.UniqueConstraint(
                fields=["caller", "content_hash"],
                name="memory_active_once",
                condition=Q(status=Status.ACTIVE.value, retired_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gte=F("valid_from")), name="memory_ends_after_it_began"
            ),
            models.CheckConstraint(condition=Q(kind__in=[kind for kind, _ in FACT_KINDS]), name="memory_kind_known"),
            models.CheckConstraint(condition=Q(status__in=[s.value for s in Status]), name="memory_status_known"),
            models.CheckConstraint(condition=~Q(single=True) | ~Q(slot=""), name="memory_single_has_a_slot"),
            models.CheckConstraint(
                condition=Q(importance__gte=0, importance__lte=1, confidence__gte=0, confidence__lte=1),
                name="memory_weights_are_shares",
            ),
            models.CheckConstraint(
                condition=Q(vector__isnull=True) | ~Q(vector_model=""), name="memory_vector_says_its_model"
            ),
            models.CheckConstraint(
                condition=Q(openai_vector__isnull=True) | ~Q(openai_model=""), name="memory_openai_says_its_model"
            ),
            ExclusionConstraint(
                name="memory_slot_has_one_value",
                expressions=[
                    ("caller", RangeOperators.EQUAL),
                    ("slot", RangeOperators.EQUAL),
                    (_Validity("valid_from", "valid_to", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
                condition=Q(single=True, retired_at__isnull=True)
                & Q(status__in=[Status.ACTIVE.value, Status.SUPERSEDED.value]),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["caller", "status"], name="memory_of_caller_by_status"),
            models.Index(fields=["expires_at"], name="memory_expiring", condition=Q(expires_at__isnull=False)),
            models.Index(
                fields=["caller", "forgotten_at"], name="memory_forgotten", condition=Q(forgotten_at__isnull=False)
            ),
            GinIndex(fields=["words"], name="memory_words"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {str(self.id)[-12:]}"


class Source(models.Model):
    """Where a fact comes from: characters ``start`` to ``end`` of an utterance, or who entered it (``by``).

    ``by`` is ``caller`` for what was said, else ``operator:NAME``, ``token:NAME`` or ``import:NAME``.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    caller = models.ForeignKey(Caller, on_delete=models.CASCADE, related_name="sources")
    memory = models.ForeignKey(Memory, on_delete=models.CASCADE, related_name="sources")
    utterance = models.ForeignKey(Utterance, null=True, blank=True, on_delete=models.CASCADE, related_name="sources")
    start = models.PositiveIntegerField(default=0)
    end = models.PositiveIntegerField(default=0)
    by = models.CharField(max_length=160, default="caller")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["memory", "utterance", "start", "end"], name="source_once", condition=Q(utterance__isnull=False)
            ),
            models.CheckConstraint(
                condition=Q(utterance__isnull=True) | Q(end__gt=F("start")), name="source_quotes_something"
            ),
            models.CheckConstraint(condition=~Q(by=""), name="source_says_who"),
        ]

    def __str__(self) -> str:
        return f"source {str(self.id)[-12:]}"


class MemoryEvent(models.Model):
    """What happened to a fact; rows are only ever added (a trigger refuses change), and go with an erasure.

    ``data`` holds ids, numbers and names of things, never what a caller said.
    """

    class What(models.TextChoices):
        """What was done."""

        ADDED = "added", "added"
        REINFORCED = "reinforced", "reinforced"
        SUPERSEDED = "superseded", "superseded"
        DISPUTED = "disputed", "disputed"
        RETRACTED = "retracted", "retracted"
        CORRECTED = "corrected", "corrected"
        EXPIRED = "expired", "expired"
        RESTORED = "restored", "restored"
        PINNED = "pinned", "pinned"
        UNPINNED = "unpinned", "unpinned"
        FORGOTTEN = "forgotten", "forgotten"
        APART = "apart", "kept apart"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    caller = models.ForeignKey(Caller, on_delete=models.CASCADE, related_name="memory_events")
    memory = models.ForeignKey(Memory, on_delete=models.CASCADE, related_name="events")
    what = models.CharField(max_length=12, choices=What)
    by = models.CharField(max_length=160)
    at = models.DateTimeField(db_default=Now())
    data = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.what} by {self.by}"
