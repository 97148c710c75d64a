"""Feeds a record to a fresh core of its version and holds against it what comes out: commands, modes, states, invariants.

A field that a record lacks and that has a default was added since the record was made: it is named in the outcome and
not compared. All else must be equal, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from hashlib import sha256
from typing import Any

from calls.core.record import payload
from calls.replay.digest import LayoutError, StateDigest
from calls.replay.invariants import Checker, Violation
from calls.replay.log import CallRecord, Damage, Step, steps_of, version_of
from calls.replay.versions import Core, core_of


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step whose outcome is not the recorded one. ``what``: ``commands``, ``mode``, ``turn``, ``state``, ``failure``.

    Of a state there is only a digest on record, so ``expected`` is empty then.
    """

    step: Step
    what: str
    expected: tuple[str, ...]
    got: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to. Counts are of what was compared and found equal.

    ``commands_sha256`` is over the bytes of all commands that the core gave. ``newer`` names fields that the record does
    not have, ``notes`` what else was not compared.
    """

    version: int
    recorded: tuple[Step, ...]
    steps: int
    commands: int
    states: int
    commands_sha256: str
    difference: Difference | None
    damage: Damage | None
    violations: tuple[tuple[int, Violation], ...]
    newer: frozenset[str]
    notes: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Nothing differs, no invariant is violated, and the record was whole."""
        return self.difference is None and self.damage is None and not self.violations


#: Takes each step that was found equal: its lines, the commands, the state after.
Watch = Callable[[Step, tuple[Any, ...], Any], None]


def replay(record: CallRecord, watch: Watch | None = None) -> Outcome:
    """Run a record again. Raises ``UnknownVersion`` where this release does not have its rules."""
    return _Replay(record, core_of(version_of(record.lines)), watch).run()


class _Replay:
    """One run."""

    def __init__(self, record: CallRecord, core: Core, watch: Watch | None) -> None:
        self.core = core
        self.watch = watch
        self.recorded, self.damage = steps_of(record)
        self.checker = Checker() if core.is_todays else None
        self.state = core.state()
        self.steps = self.commands = self.states = 0
        self.hash = sha256()
        self.violations: list[tuple[int, Violation]] = []
        self.newer: set[str] = set()
        self.notes: list[str] = []
        self.digest = self._digest(record)

    def _digest(self, record: CallRecord) -> StateDigest | None:
        if not record.layout:
            self.notes.append("states are not compared: the record has no digests")
            return None
        try:
            return StateDigest(self.core.state, record.layout)
        except LayoutError as error:
            self.notes.append(f"states are not compared: {error}")
            return None

    def run(self) -> Outcome:
        """Step by step, to the end or the first difference."""
        if self.checker is None:
            self.notes.append(f"invariants are not checked: the rules are those of version {self.core.version}")
        difference = None
        for step in self.recorded:
            difference = self._step(step)
            if difference is not None or self.steps < step.event.step:
                break
        return Outcome(
            version=self.core.version,
            recorded=tuple(self.recorded),
            steps=self.steps,
            commands=self.commands,
            states=self.states,
            commands_sha256=self.hash.hexdigest(),
            difference=difference,
            damage=self.damage,
            violations=tuple(self.violations),
            newer=frozenset(self.newer),
            notes=tuple(self.notes),
        )

    def _step(self, step: Step) -> Difference | None:
        line = step.event
        try:
            event = self.core.event_from(line.data)
        except ValueError as error:
            self.damage = Damage(line.seq, str(error))
            return None
        before = self.state
        try:
            after, commands = self.core.step(before, event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the recorded core did not raise it
            return Difference(step, "failure", (), (f"{type(error).__name__}: {error}",))
        difference = self._compare(step, commands, after)
        if difference is None:
            self._passed(step, before, event, commands, after)
        return difference

    def _passed(self, step: Step, before: Any, event: Any, commands: tuple[Any, ...], after: Any) -> None:
        self.state = after
        self.steps += 1
        self.commands += len(step.commands)
        for command in commands:
            self.hash.update(canonical({"type": type(command).__name__, **payload(command)}).encode())
        if self.checker is not None:
            found = self.checker.collect(before, event, commands, after)
            self.violations += [(step.event.step, violation) for violation in found]
        if self.watch is not None:
            self.watch(step, commands, after)

    # --- comparing

    def _compare(self, step: Step, commands: tuple[Any, ...], after: Any) -> Difference | None:
        given = commands if step.is_whole else commands[: len(step.commands)]
        expected = tuple(canonical(line.data) for line in step.commands)
        got = tuple(self._as_recorded(command, step, place) for place, command in enumerate(given))
        if expected != got:
            return Difference(step, "commands", expected, got)
        for what, value in (("mode", str(after.mode)), ("turn", str(after.turn))):
            recorded = str(getattr(step.event, what))
            if recorded != value:
                return Difference(step, what, (recorded,), (value,))
        return self._compare_state(step, after)

    def _compare_state(self, step: Step, after: Any) -> Difference | None:
        changed = next((line.error for line in (step.event, *step.commands) if line.error), "")
        if self.digest is not None and changed:
            self.digest = None
            self.notes.append(f"states are not compared from step {step.event.step} on: {changed}")
        if self.digest is None or not step.event.digest:
            return None
        digest = self.digest.of(after)
        if digest == step.event.digest:
            self.states += 1
            return None
        shown = {name: value for name, value in payload(after).items() if name != "agent"}
        return Difference(step, "state", (), (canonical(shown),))

    def _as_recorded(self, command: Any, step: Step, place: int) -> str:
        """A command as it would stand in the record, without the fields that the record does not know yet."""
        line = step.commands[place] if place < len(step.commands) else None
        whole = {"type": type(command).__name__, **payload(command)}
        if line is None or line.type != whole["type"]:
            return canonical(whole)
        return canonical({"type": line.type, **self._known(command, line.data)})

    def _known(self, value: Any, recorded: Any) -> Any:
        if isinstance(value, tuple) and isinstance(recorded, list) and len(value) == len(recorded):
            return [self._known(*pair) for pair in zip(value, recorded, strict=True)]
        if not is_dataclass(value) or not isinstance(recorded, dict):
            return payload(value)
        known = {}
        for field in fields(value):
            if field.name in recorded or (field.default is MISSING and field.default_factory is MISSING):
                known[field.name] = self._known(getattr(value, field.name), recorded.get(field.name))
            else:
                self.newer.add(f"{type(value).__name__}.{field.name}")
        return known


def canonical(data: Any) -> str:
    """The one JSON text of a value, as ``calls.core.record.dumps`` writes it."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
