"""An agent's recorded phrases in the admin: how far each is, and what callers hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from calls import phrasebook
from calls.core.phrases import shipped_text
from calls.models import Agent, PhraseRecording
from calls.phrase_fields import KEYS
from calls.services import phrases
from calls.timeline_format import moment

if TYPE_CHECKING:
    from calls.services.phrases import Shown

_WAITING, _RENDERED, _FAILED = (
    PhraseRecording.State.WAITING,
    PhraseRecording.State.RENDERED,
    PhraseRecording.State.FAILED,
)


def states(agent: Agent) -> dict[str, str]:
    """Below each phrase's control: how far its recording is, and a player of what callers hear. By key, as HTML."""
    try:
        found = phrases.shown(agent)
    except ValueError:
        return {}
    return {
        key: format_html("{} {}", _said(agent, key, shown), _player(agent, key, shown)) for key, shown in found.items()
    }


def _said(agent: Agent, key: str, shown: Shown) -> str:
    if shown.state == _RENDERED:
        return format_html('<span class="phrase done">Recorded {}: callers hear it.</span>', moment(shown.rendered_at))
    if shown.state == _FAILED:
        return format_html(
            '<span class="phrase failed">Could not be recorded: {}. Callers hear the shipped sentence instead: “{}” Saving the '
            "agent tries again.</span>",
            shown.reason.rstrip("."),
            shipped_text(agent.language, key),
        )
    if shown.state == _WAITING:
        later = format_html(" The last attempt failed: {}.", shown.reason.rstrip(".")) if shown.reason else ""
        return format_html(
            '<span class="phrase waiting">Waiting to be recorded in the agent’s voice.{} Until then callers hear the shipped '
            "sentence: “{}”</span>",
            later,
            shipped_text(agent.language, key),
        )
    return format_html('<span class="phrase">{}</span>', "The shipped sentence.")


def _player(agent: Agent, key: str, shown: Shown) -> str:
    # The address changes with what is behind it, so that no browser plays what it heard before.
    address = (
        reverse("admin:calls_agent_phrase", args=[agent.pk, key])
        + f"?{(shown.digest or agent.language)[:12]}{shown.state}"
    )
    return format_html('<audio controls preload="none" src="{}" aria-label="What callers hear"></audio>', address)


def audio(request: HttpRequest, agent: Agent | None, key: str) -> HttpResponse:
    """What callers of an agent hear for a phrase, as a WAV file."""
    if agent is None or key not in KEYS:
        raise Http404("no such phrase")
    sound = phrasebook.wav(phrases.heard(agent.profile(0), key))
    return HttpResponse(sound, content_type="audio/wav", headers={"Cache-Control": "private, no-store"})
