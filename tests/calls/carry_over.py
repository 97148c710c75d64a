"""``python -m tests.calls.carry_over FILE…``: recorded calls under today's rules, where these lead to the same commands.

After a change of the rules, a test call would go on replaying by the old ones and no longer watch the new. A call
that goes another way now is left as it is, and named.

Timers are the core's own affair: those of the record are left out, and today's fire when they are due, at their recorded time
where one of that name fired then. So a rule that only waits for something else leaves a call its way.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calls.core.commands import CancelTimer, Command, SetTimer
from calls.core.events import Event, TimerFired
from calls.core.machine import step
from calls.core.policy import POLICY_VERSION
from calls.core.record import dumps, event_from
from calls.core.state import State
from calls.replay.callfile import read, written
from calls.replay.digest import StateDigest, layout_of
from calls.replay.log import CallRecord, Line, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: How late a timer of a recorded call may have fired.
LATE_MS = 200
TIMERS = frozenset({"SetTimer", "CancelTimer"})


def carried_over(record: CallRecord) -> CallRecord | None:
    """The record as today's rules make it; ``None`` where they make another one of it."""
    again = _Again(record)
    again.run()
    recorded, given = _told(record.lines), _told(again.lines)
    same = len(given) == len(recorded) and all(map(_is_same, given, recorded))
    return CallRecord(record.call_sid, tuple(again.lines), again.layout, again.lines[-1].seq) if same else None


def _told(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The commands without those about timers."""
    commands = [line.data for line in lines if line.kind == "command" and line.type not in TIMERS]
    return [command for command in commands if command != {"type": "StaleDropped", "event": "TimerFired"}]


def _is_same(given: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether a command says what it said. A field that was added since has nothing to be compared with."""
    return all(given.get(name) == value for name, value in recorded.items())


class _Again:
    """One call under today's rules."""

    def __init__(self, record: CallRecord) -> None:
        self.layout = layout_of(State)
        self.lines: list[Line] = []
        self._digest = StateDigest(State, self.layout)
        self._state = State()
        self._steps = [taken.event for taken in steps_of(record)[0]]
        self._timers: dict[str, SetTimer] = {}

    def run(self) -> None:
        """All events but the timers in their order, and today's timers between them."""
        for place, line in enumerate(self._steps):
            for timer in self._due(place):
                event = TimerFired(at_ms=max(timer.due_ms, self._now_ms), timer=timer.timer, key=timer.key)
                self._take(event, line)
            if line.type == "TimerFired":
                timer = self._timers.get(line.data["timer"])
                if timer is not None and timer.due_ms <= line.at_ms:
                    self._take(TimerFired(at_ms=line.at_ms, timer=timer.timer, key=timer.key), line)
            else:
                data = json.loads(json.dumps(line.data))
                if line.type == "CallStarted":
                    data["agent"]["policy"]["version"] = POLICY_VERSION
                self._take(event_from(data), line)

    @property
    def _now_ms(self) -> int:
        return self.lines[-1].at_ms if self.lines else 0

    def _due(self, place: int) -> Iterator[SetTimer]:
        """Today's timers that fire before this event, but for those whose recorded firing comes a little later."""
        line = self._steps[place]
        while due := [timer for timer in self._timers.values() if timer.due_ms < line.at_ms]:
            timer = min(due, key=lambda timer: timer.due_ms)
            if self._fired_late(place, timer):
                return
            yield timer

    def _fired_late(self, place: int, timer: SetTimer) -> bool:
        return any(
            line.type == "TimerFired" and line.data["timer"] == timer.timer
            for line in self._steps[place:]
            if line.at_ms <= timer.due_ms + LATE_MS
        )

    def _take(self, event: Event, line: Line) -> None:
        if isinstance(event, TimerFired):
            del self._timers[event.timer]
        self._state, commands = step(self._state, event)
        number = self.lines[-1].step + 1 if self.lines else 1
        for value in (event, *commands):
            self._note(value, line, number, event.at_ms, "event" if value is event else "command")
        for command in commands:
            if isinstance(command, SetTimer):
                self._timers[command.timer] = command
            elif isinstance(command, CancelTimer):
                del self._timers[command.timer]

    def _note(self, value: Event | Command, line: Line, number: int, at_ms: int, kind: str) -> None:
        state = self._state
        self.lines.append(
            replace(
                line,
                seq=len(self.lines) + 1,
                step=number,
                kind=kind,
                type=type(value).__name__,
                at_ms=at_ms,
                wall_ms=line.wall_ms - line.at_ms + at_ms,
                mode=str(state.mode),
                turn=state.turn,
                data=json.loads(dumps(value)),
                digest=self._digest.of(state) if kind == "event" else "",
            )
        )


def main(names: list[str]) -> int:
    """Write each file anew. 1 where one was left as it is."""
    left = 0
    for file in map(Path, names):
        over = carried_over(read(file.read_bytes()).record)
        if over is None:
            left = 1
            sys.stdout.write(f"{file.name} goes another way by version {POLICY_VERSION}: left as it is\n")
        else:
            file.write_bytes(written(over))
    return left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
