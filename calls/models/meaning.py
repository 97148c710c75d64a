"""What was said in a turn, as a vector: for operators who look for calls like one they have in mind.

Never read during a call: what an assistant recalls of its caller comes from the memory alone. Goes with its turn.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from pgvector.django import HalfVectorField, HnswIndex

from calls.models.call import Turn

DIMENSIONS = 384


class TurnMeaning(models.Model):
    """The vector of a turn's words, the caller's and what the caller heard, of length 1, by the model named ``model``.

    Halves of floats: the order of what is found is the same, at half the size.
    """

    turn = models.OneToOneField(Turn, primary_key=True, on_delete=models.CASCADE, related_name="meaning")
    model = models.CharField(max_length=80)
    vector = HalfVectorField(dimensions=DIMENSIONS)

    class Meta:
        default_permissions = ()
        verbose_name = "meaning of a turn"
        verbose_name_plural = "meanings of turns"
        indexes: ClassVar = [HnswIndex(name="turn_meaning_near", fields=["vector"], opclasses=["halfvec_cosine_ops"])]

    def __str__(self) -> str:
        return f"meaning of turn {self.turn_id}"
