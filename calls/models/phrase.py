"""Recordings of agents' own phrases: what is said, in whose voice, and what became of having it rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils import timezone

from calls.phrasebook import recording_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet


class PhraseRecording(models.Model):
    """One sentence in one voice, shared by every agent that says it so. The key is a digest of just that, so a row never
    comes to stand for other words. A row that waits is the order to render it (``calls.services.phrases``)."""

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting", "waiting"
        RENDERED = "rendered", "rendered"
        FAILED = "failed", "failed"

    digest = models.CharField(max_length=64, primary_key=True)
    voice = models.CharField(max_length=100)
    language = models.CharField(max_length=16)
    text = models.TextField()
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    audio = models.BinaryField(null=True, editable=False)
    #: Why the last attempt failed, for people.
    reason = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    #: When a waiting one is to be tried; while it is being rendered, when it is taken for forgotten.
    due_at = models.DateTimeField(null=True, default=timezone.now)
    rendered_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(audio__isnull=False) | ~models.Q(state="rendered"),
                name="phrase_rendered_has_audio",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=models.Q(state="waiting"), name="phrase_to_render"),
        ]

    def __str__(self) -> str:
        return self.text


def rendered(digests: Iterable[str]) -> QuerySet[PhraseRecording]:
    """Those of these recordings that there are."""
    return PhraseRecording.objects.filter(pk__in=list(digests), state=PhraseRecording.State.RENDERED)


def order(voice: str, language: str, texts: Iterable[str]) -> None:
    """Have these sentences rendered in this voice, unless they are. What failed before is tried anew."""
    rows = [
        PhraseRecording(digest=recording_digest(voice, language, text), voice=voice, language=language, text=text)
        for text in texts
    ]
    if not rows:
        return
    PhraseRecording.objects.bulk_create(rows, ignore_conflicts=True)
    PhraseRecording.objects.filter(pk__in=[row.digest for row in rows], state=PhraseRecording.State.FAILED).update(
        state=PhraseRecording.State.WAITING, attempts=0, due_at=timezone.now()
    )
