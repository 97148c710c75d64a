"""Saving an agent that somebody edited, and what there is to tell them about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from calls.models import PhraseRecording
from calls.services.phrases import shown
from calls.tasks import send_render_phrases

if TYPE_CHECKING:
    from calls.models import Agent


def save(agent: Agent, by: Any) -> list[str]:
    """Save it, have missing recordings made, and say which version calls get from now on. ``by``: whose version it is."""
    before = newest_version(agent) if agent.pk else None
    agent.edited_by = by
    agent.save()
    newest = newest_version(agent)
    told = []
    if waiting := [one for one in shown(agent).values() if one.state == PhraseRecording.State.WAITING]:
        transaction.on_commit(send_render_phrases)
        told.append(_waiting_text(len(waiting)))
    told.append(
        f"Nothing that a call is made of has changed: calls run with version {newest}, as before."
        if newest == before
        else f"This is version {newest}: the next call runs with it, calls in progress keep theirs."
    )
    return told


def newest_version(agent: Agent) -> int | None:
    """The number of an agent's newest version."""
    return agent.versions.order_by("-number").values_list("number", flat=True).first()


def _waiting_text(count: int) -> str:
    what = "One sentence is" if count == 1 else f"{count} sentences are"
    return (
        f"{what} being recorded in the agent’s voice: that makes a version of its own, as soon as callers can hear it."
    )
