"""Who calls, the conversations with them, and what was said in each."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from pgvector.django import VectorField

from memory.ids import new_id

LOCAL_DIMENSIONS = 384
OPENAI_DIMENSIONS = 1536
NAME_LENGTH = 128
LABEL_LENGTH = 128
#: When a caller was seen last; somebody who never spoke was seen when the row was made.
SEEN_AT = Coalesce("last_seen_at", "created_at")


class Caller(models.Model):
    """One caller. ``key_hash`` is ``memory.callers.caller_key`` of the number; the number itself is sealed.

    ``retention_days``: utterances older than this are let go of; empty: they stay. ``data_key_sealed`` opens all of the
    caller's texts: with it gone they are noise. ``tail_hash`` is the keyed hash of the number's last digits, by which a
    list of callers finds it; empty until ``memory.services.housekeeping`` has filled it in.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    tail_hash = models.CharField(max_length=64, blank=True, default="", db_default="", db_index=True, editable=False)
    number_sealed = models.BinaryField()
    data_key_sealed = models.BinaryField()
    locale = models.CharField(max_length=16, default="en")
    retention_days = models.PositiveIntegerField("keep for (days)", null=True, blank=True)
    created_at = models.DateTimeField("first seen", db_default=Now())
    last_seen_at = models.DateTimeField("last seen", null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        permissions: ClassVar = [
            ("read_caller", "Can read what callers said and what is remembered"),
            ("see_number", "Can see callers' whole numbers"),
            ("correct_caller", "Can enter, correct and retract facts"),
            ("erase_caller", "Can forget facts and conversations, and erase callers"),
        ]
        ordering: ClassVar = ["-last_seen_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["-last_seen_at"], name="caller_last_seen"),
            models.Index(SEEN_AT.desc(), F("id").desc(), name="caller_newest"),
        ]

    def __str__(self) -> str:
        return f"caller {str(self.id)[-12:]}"


class Card(models.Model):
    """The profile card as it was built after the last conversation: what a call knows before a word was said."""

    caller = models.OneToOneField(Caller, primary_key=True, on_delete=models.CASCADE, related_name="card")
    name_sealed = models.BinaryField()
    text_sealed = models.BinaryField()
    facts = models.PositiveIntegerField(default=0)
    built_at = models.DateTimeField("built")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"card of {self.caller_id}"


class Conversation(models.Model):
    """A call, or a conversation that was imported. ``name`` is the CallSid, or what the import called it.

    What was done with it stands here, so that every step of the chain can be run again and a sweeper finds what was
    left: written, embedded, distilled (by which version), and into the card. ``due_at``: when a sweeper takes it up, unless
    it is in the card by then.
    """

    class Origin(models.TextChoices):
        """Where it came from."""

        CALL = "call", "call"
        IMPORT = "import", "import"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    caller = models.ForeignKey(Caller, on_delete=models.CASCADE, related_name="conversations")
    name = models.CharField(max_length=NAME_LENGTH)
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.CALL)
    locale = models.CharField(max_length=16, default="en")
    began_at = models.DateTimeField("began")
    ended_at = models.DateTimeField("ended", null=True, blank=True)
    written_at = models.DateTimeField("written", db_default=Now())
    embedded_at = models.DateTimeField("embedded", null=True, blank=True)
    distilled_at = models.DateTimeField("distilled", null=True, blank=True)
    distilled_by = models.CharField(max_length=120, blank=True)
    distil_attempts = models.PositiveIntegerField("attempts to distil", default=0)
    distil_error = models.CharField(max_length=200, blank=True)
    card_at = models.DateTimeField("in the card", null=True, blank=True)
    due_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["-began_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "name"], name="conversation_once"),
            models.UniqueConstraint(fields=["id", "caller"], name="conversation_of_caller"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["name"], name="conversation_name"),
            models.Index(fields=["due_at"], name="conversation_due", condition=Q(card_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.name


class Utterance(models.Model):
    """One thing that was said. ``heard_sealed`` is what the other side heard, where that is less.

    ``label`` is what an import called the line, its own name for where it comes from.

    ``words`` weighs the text itself A and what was said just before it D. ``vector`` is of the local model
    ``vector_model``, ``openai_vector`` of ``openai_model``: vectors of two models are never compared.
    """

    class Role(models.TextChoices):
        """Who said it."""

        USER = "user", "caller"
        ASSISTANT = "assistant", "agent"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    caller = models.ForeignKey(Caller, on_delete=models.CASCADE, related_name="utterances")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="utterances")
    seq = models.PositiveIntegerField()
    role = models.CharField(max_length=10, choices=Role)
    text_sealed = models.BinaryField()
    heard_sealed = models.BinaryField(default=b"")
    said_at = models.DateTimeField("said")
    audio_ms = models.BigIntegerField("place in the recording (ms)", default=-1)
    audio_end_ms = models.BigIntegerField(default=-1)
    confidence = models.FloatField(default=1.0)
    label = models.CharField(max_length=LABEL_LENGTH, blank=True, default="")
    words = SearchVectorField(null=True)
    vector = VectorField(dimensions=LOCAL_DIMENSIONS, null=True)
    vector_model = models.CharField(max_length=80, blank=True)
    openai_vector = VectorField(dimensions=OPENAI_DIMENSIONS, null=True)
    openai_model = models.CharField(max_length=80, blank=True)

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["conversation", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["conversation", "seq"], name="utterance_once"),
            models.UniqueConstraint(fields=["id", "caller"], name="utterance_of_caller"),
            models.CheckConstraint(condition=Q(role__in=["user", "assistant"]), name="utterance_role_known"),
            models.CheckConstraint(
                condition=Q(vector__isnull=True) | ~Q(vector_model=""), name="utterance_vector_says_its_model"
            ),
            models.CheckConstraint(
                condition=Q(openai_vector__isnull=True) | ~Q(openai_model=""), name="utterance_openai_says_its_model"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["caller", "-said_at"], name="utterance_of_caller_newest"),
            GinIndex(fields=["words"], name="utterance_words"),
        ]

    def __str__(self) -> str:
        return f"utterance {self.seq}"
