"""The phrases that need no vendor: said from recordings when something failed. Texts by language and key.

The recordings lie in ``calls/phrases/<language>/<key>.ulaw``, those of an agent's own with the agent; the text is what the
history and the transcript get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calls.core.policy import AgentProfile

#: Every language has every key.
PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "model_failed": "I'm sorry, I lost my train of thought. Could you say that again, please?",
        "voice_failed": "I'm sorry, I'm having trouble speaking right now. One moment, please.",
        "ear_failed": "I'm sorry, I can't hear you at the moment. Please call again in a few minutes. Goodbye.",
        "trouble": "I'm sorry, we are having technical trouble. Please call again in a few minutes. Goodbye.",
        "ear_moment": "I'm sorry, I didn't hear that. One moment, please.",
        "handover": "I'm sorry, we are having technical trouble. I'll put you through to a colleague.",
        "closing": "I'm sorry, I have to end this call now. Please call again in a few minutes. Goodbye.",
        "time_limit": "I'm sorry, we have reached the time limit for this call. Thank you for calling. Goodbye.",
    },
}

#: What bridges a slow function, in the agent's own voice. Version 1.
FILLERS: dict[str, str] = {
    "en": "One moment, please. ",
    "de": "Einen Moment, bitte. ",
    "es": "Un momento, por favor. ",
    "fr": "Un instant, s'il vous plaît. ",
}

#: What stands for a caller's name in a greeting.
NAME_PLACE = "{name}"


def filler_text(language: str) -> str:
    """The words for a moment's patience; English where the language has none."""
    return FILLERS.get(language.split("-")[0], FILLERS["en"])


def phrase_language(language: str) -> str:
    """The language whose recordings serve ``language``."""
    base = language.split("-")[0]
    return base if base in PHRASES else "en"


def shipped_text(language: str, key: str) -> str:
    """What the shipped recording says."""
    return PHRASES[phrase_language(language)][key]


def phrase_text(agent: AgentProfile, key: str) -> str:
    """What the phrase says: the agent's own, where it has a recording of its own, else the shipped one."""
    return dict(agent.phrases).get(key) or shipped_text(agent.language, key)
