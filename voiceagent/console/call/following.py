"""A call in progress as its page is told of it: from its log's stream, by the same code as an archived one, growing.

``Following`` takes lines and gives what is new since it was last asked: ends of lists, and the cards of turns that changed.
It reads no clock and waits for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.template.loader import render_to_string

from calls.core.commands import TurnClosed
from calls.core.record import RecordError, command_from
from calls.services.timeline import TurnFacts, closed_turn
from voiceagent.console.call import drawing
from voiceagent.console.call.cards import ANSWER, Card, cards, open_card
from voiceagent.console.call.story import Line, Story

if TYPE_CHECKING:
    from collections.abc import Iterable

#: So far back something that was told may still change: a function that settles, a mark that gets its end.
_UNSETTLED = 60


class Following:
    """``plain``: for somebody who may read the words as they are."""

    def __init__(self, *, plain: bool) -> None:
        self.story = Story()
        self.turns: dict[int, TurnFacts] = {}
        self._plain = plain
        self._recalled: dict[int, dict[str, Any]] = {}
        self._changed: set[int] = set()
        self._told: dict[str, list[Any]] = {}

    def take(self, lines: Iterable[Line]) -> None:
        """New lines, in order."""
        for line in lines:
            self.story.take(line)
            number = line.data.get("turn")
            number = number if isinstance(number, int) else line.turn
            self._changed.add(number)
            if line.type == "MemoryRecalled":
                self._recalled[number] = {name: line.data.get(name) for name in ("outcome", "took_ms", "items")}
            elif line.type == "TurnClosed" and line.kind == "command":
                self._close(line)

    def _close(self, line: Line) -> None:
        try:
            said = command_from(line.data)
        except RecordError:
            return
        if isinstance(said, TurnClosed):
            facts = closed_turn(said, line.data)
            recalled = self._recalled.pop(facts.number, {})
            self.turns[facts.number] = TurnFacts(
                **{name: getattr(facts, name) for name in TurnFacts.__dataclass_fields__ if name != "recalled"},
                recalled=recalled,
            )

    # --- what the page is told

    def whole(self) -> dict[str, Any]:
        """Everything."""
        self._told, self._changed = {}, set()
        self._told = self._lists()
        found = {name: [0, items] for name, items in self._told.items()}
        shown = self.cards()
        return {
            **found,
            "turns": [drawing.turn(card) for card in shown],
            "cards": [_html(card) for card in shown],
            **self._ends(),
        }

    def news(self) -> dict[str, Any]:
        """What changed since; empty where nothing did."""
        if not self._changed:
            return {}
        found: dict[str, Any] = {}
        for name, items in self._lists().items():
            told = self._told.get(name, [])
            start = next(
                (
                    at
                    for at in range(max(0, len(told) - _UNSETTLED), len(told))
                    if at >= len(items) or items[at] != told[at]
                ),
                len(told),
            )
            if start < len(items) or len(items) < len(told):
                found[name] = [start, items[start:]]
                self._told[name] = list(items)
        changed, self._changed = self._changed, set()
        shown = [card for card in self.cards() if card.number in changed or card.is_open]
        return {
            **found,
            "turns": [drawing.turn(card) for card in shown],
            "cards": [_html(card) for card in shown],
            **self._ends(),
        }

    def cards(self) -> list[Card]:
        """The transcript so far, the open turn last."""
        numbers = sorted(self.turns)
        shown = cards([self.turns[number] for number in numbers], self.story, plain=self._plain)
        following = max([*self.turns, *(number for number in self.story.turns)], default=0)
        following = following if following not in self.turns else following + 1
        answers = sum(turn.kind == ANSWER for turn in self.turns.values())
        last = open_card(self.story, following, f"Turn {answers + 1}" if following else "Greeting", plain=self._plain)
        return [*shown, last] if last is not None else shown

    def _lists(self) -> dict[str, list[Any]]:
        story = self.story
        return {
            "states": [list(state) for state in story.states],
            "speech": [list(stretch) for stretch in story.speech],
            "unheard": [list(span) for span in story.unheard],
            "marks": [drawing.mark(mark, plain=self._plain) for mark in story.marks],
        }

    def _ends(self) -> dict[str, Any]:
        return {"duration": self.story.at_ms, "over": self.story.is_over}


def _html(card: Card) -> tuple[int, str]:
    return card.number, render_to_string("console/call/card.html", {"card": card, "chosen": None}).strip()
