"""What stays when something was forgotten: that it was, and how much of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from memory.ids import new_id


class Tombstone(models.Model):
    """Something that must not come back, by keyed hashes only.

    ``caller``: everything of this caller from before ``at``. ``conversation``: this conversation of the caller.
    ``fact``: facts with this content, from anything said before ``at``. ``never``: whatever this caller says, for they do
    not want to be remembered. ``subject`` is the keyed hash of the
    conversation's name, or of the fact's kind, slot and normalised value.
    """

    class Scope(models.TextChoices):
        """How much was erased."""

        CALLER = "caller", "caller"
        CONVERSATION = "conversation", "conversation"
        FACT = "fact", "fact"
        NEVER = "never", "not to be remembered"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    scope = models.CharField(max_length=12, choices=Scope)
    caller_hash = models.CharField(max_length=64, db_index=True)
    subject = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField("erased", db_default=Now())

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope", "caller_hash", "subject"], name="tombstone_once"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {str(self.id)[-12:]}"


class ErasureRequest(models.Model):
    """An erasure and its receipt: what was removed where, in numbers, and what the search afterwards found."""

    class State(models.TextChoices):
        """How far it is."""

        ASKED = "asked", "asked"
        REMOVED = "removed", "removed"
        VERIFIED = "verified", "verified"
        FAILED = "failed", "failed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    scope = models.CharField(max_length=12, choices=Tombstone.Scope)
    caller_hash = models.CharField(max_length=64, db_index=True)
    by = models.CharField(max_length=160)
    state = models.CharField(max_length=10, choices=State, default=State.ASKED)
    asked_at = models.DateTimeField("asked", db_default=Now())
    done_at = models.DateTimeField("done", null=True, blank=True)
    receipt = models.JSONField(default=dict)

    class Meta:
        default_permissions = ("view",)
        verbose_name = "receipt of an erasure"
        verbose_name_plural = "receipts of erasures"
        ordering: ClassVar = ["-asked_at", "-id"]

    def __str__(self) -> str:
        return f"erasure {str(self.id)[-12:]}"
