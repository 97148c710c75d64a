"""What the timeline's scripts draw from: plain lists, all in ms on the call's clock. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voiceagent.console.call.story import MARKS, Mark, Story
from voiceagent.console.redaction import redacted_text

if TYPE_CHECKING:
    from voiceagent.console.call.cards import Card

_MARK_CHARS = 300


def drawn(story: Story, shown: list[Card], duration_ms: int, *, plain: bool) -> dict[str, Any]:
    """What the timeline is drawn from; everything in ms on the call's clock. Texts only of marks, redacted as the cards are."""
    return {
        "duration": max(duration_ms, story.at_ms),
        "states": story.states,
        "speech": story.speech,
        "unheard": story.unheard,
        "marks": [mark(one, plain=plain) for one in story.marks],
        "turns": [turn(card) for card in shown],
    }


def mark(one: Mark, *, plain: bool) -> list[Any]:
    """``[at, kind, sign, text, turn, until]``."""
    text = one.text if plain else redacted_text(one.text)
    return [one.at_ms, one.kind, MARKS[one.kind][0], text[:_MARK_CHARS], one.turn, one.until_ms]


def turn(card: Card) -> dict[str, Any]:
    """A turn of the timeline. ``words``: where each that was heard begins."""
    return {
        "n": card.number,
        "title": card.title,
        "from": card.from_ms,
        "to": card.until_ms,
        "agent": card.agent_ms,
        "response": card.response_ms,
        "outcome": card.outcome,
        "words": [start for start, _ in card.words],
    }
