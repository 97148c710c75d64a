"""A call as it happens, for a page that shows its states and words: the entries of its log in, small changes out. Pure.

The log holds every event and command in order; what is shown here is what the core decided, a moment later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from calls.core.phrases import PHRASES, phrase_language
from calls.latency import answer_latency_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Change = dict[str, Any]


@dataclass
class Course:
    """Everything that has happened. ``take`` the entries of ``calls.logkeys`` in order; ``snapshot`` at any time."""

    states: list[tuple[int, str]] = field(default_factory=list)
    turns: dict[int, Change] = field(default_factory=dict)
    marks: list[tuple[int, str]] = field(default_factory=list)
    zero_wall_ms: int = 0
    end: str = ""
    caller: str = ""
    _language: str = "en"
    _said: dict[tuple[int, int], str] = field(default_factory=dict)
    _open: dict[int, list[int]] = field(default_factory=dict)

    def take(self, entry: Mapping[str, str]) -> list[Change]:
        """What this entry changes, as fields of one change each."""
        at_ms, turn = int(entry["at_ms"]), int(entry["turn"])
        data = json.loads(entry["data"])
        self.zero_wall_ms = self.zero_wall_ms or int(entry["wall_ms"]) - at_ms
        changes = self._move(at_ms, entry["mode"]) if entry["kind"] == "event" else []
        handle = _HANDLERS.get(entry["type"])
        return changes + (handle(self, data, at_ms, turn) if handle is not None else [])

    def snapshot(self) -> Change:
        """All of it, as a page shows it."""
        return {
            "zero_wall_ms": self.zero_wall_ms,
            "states": self.states,
            "turns": [self.turns[number] for number in sorted(self.turns)],
            "marks": self.marks,
            "caller": self.caller,
            "end": self.end,
        }

    def _move(self, at_ms: int, state: str) -> list[Change]:
        if not state or self.end or (self.states and self.states[-1][1] in (state, "OPERATOR")):
            return []
        self.states.append((at_ms, state))
        return [{"state": [at_ms, state], "zero_wall_ms": self.zero_wall_ms}]

    def _turn(self, number: int) -> Change:
        return self.turns.setdefault(
            number,
            {
                "number": number,
                "user": "",
                "agent": "",
                "unheard": "",
                "outcome": "",
                "cut": False,
                "response_ms": None,
            },
        )

    def _told(self, turn: int) -> list[Change]:
        shown = self._turn(turn)
        if shown["outcome"]:
            return []
        shown["agent"] = " ".join(" ".join(self._said.get((turn, epoch), "") for epoch in self._open[turn]).split())
        return [{"turn": shown}]

    # --- entries ------------------------------------------------------------------------------------------------------

    def started(self, data: Change, _at_ms: int, _turn: int) -> list[Change]:
        """The agent's language is known."""
        self._language = phrase_language(str(data.get("agent", {}).get("language", "en")))
        return []

    def heard(self, data: Change, _at_ms: int, _turn: int) -> list[Change]:
        """Words of the caller so far."""
        self.caller = str(data.get("text", ""))
        return [{"caller": self.caller}]

    def say(self, data: Change, _at_ms: int, _turn: int) -> list[Change]:
        """More of a reply is made; it is shown once its epoch is let through."""
        key = (int(data["turn"]), int(data["epoch"]))
        phrase = PHRASES[self._language].get(str(data.get("phrase", "")), "")
        self._said[key] = self._said.get(key, "") + (str(data.get("text", "")) or phrase)
        return self._told(key[0]) if key[1] in self._open.get(key[0], []) else []

    def opened(self, data: Change, _at_ms: int, _turn: int) -> list[Change]:
        """A reply is let through to the caller."""
        turn, epoch = int(data["turn"]), int(data["epoch"])
        epochs = self._open.setdefault(turn, [])
        if epoch not in epochs:
            epochs.append(epoch)
        return self._told(turn)

    def closed(self, data: Change, at_ms: int, _turn: int) -> list[Change]:
        """A turn is over: what was heard of it is known."""
        shown = self._turn(int(data["turn"]))
        words = data.get("words", [])
        unheard = " ".join(str(word.get("text", "")) for word in words if word.get("state") != "heard")
        cut = data["outcome"] == "interrupted"
        shown.update(
            user=data["user_text"], agent=data["heard_text"], unheard=unheard if cut else "", outcome=data["outcome"],
            cut=cut, response_ms=answer_latency_ms(SimpleNamespace(**data)),
        )  # fmt: skip
        changes: list[Change] = [{"turn": shown}]
        if data["user_text"] and self.caller:
            self.caller = ""
            changes.append({"caller": ""})
        return changes

    def cleared(self, _data: Change, at_ms: int, _turn: int) -> list[Change]:
        """The caller spoke over the agent."""
        self.marks.append((at_ms, "cut"))
        return [{"mark": [at_ms, "cut"]}]

    def operator(self, _data: Change, at_ms: int, _turn: int) -> list[Change]:
        """An operator holds the call."""
        self.states.append((at_ms, "OPERATOR"))
        return [{"state": [at_ms, "OPERATOR"]}]

    def handed_back(self, _data: Change, at_ms: int, _turn: int) -> list[Change]:
        """And does not any more."""
        self.states.append((at_ms, "LISTENING"))
        return [{"state": [at_ms, "LISTENING"]}]

    def whispered(self, data: Change, at_ms: int, _turn: int) -> list[Change]:
        """An operator's note reached the assistant."""
        self.marks.append((at_ms, "whisper"))
        return [{"mark": [at_ms, "whisper"]}]

    def ended(self, data: Change, at_ms: int, _turn: int) -> list[Change]:
        """The call is over."""
        self.end = str(data.get("reason", ""))
        return [{"end": self.end, "at_ms": at_ms}]


_HANDLERS: dict[str, Callable[[Course, Change, int, int], list[Change]]] = {
    "CallStarted": Course.started,
    "WordsHeard": Course.heard,
    "EagerEnd": Course.heard,
    "TurnEnded": Course.heard,
    "Say": Course.say,
    "PlayPhrase": Course.say,
    "OpenGate": Course.opened,
    "TurnClosed": Course.closed,
    "Clear": Course.cleared,
    "OperatorTookOver": Course.operator,
    "OperatorHandedBack": Course.handed_back,
    "OperatorWhispered": Course.whispered,
    "EndCall": Course.ended,
}
