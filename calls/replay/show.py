"""A replay's outcome as lines for people."""

from __future__ import annotations

import json
from difflib import unified_diff
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from calls.replay.log import Step
    from calls.replay.run import Difference, Outcome

SAME, DIFFERS, BAD_INPUT = 0, 1, 2
#: Steps shown before and after the one that differs.
AROUND = 5
_WIDTH = 100


def exit_code(outcome: Outcome) -> int:
    """``SAME``, ``DIFFERS`` (an invariant that does not hold included) or ``BAD_INPUT``, as the process says it."""
    if outcome.difference is not None or outcome.violations:
        return DIFFERS
    return BAD_INPUT if outcome.damage is not None else SAME


def report(name: str, outcome: Outcome, took: str = "") -> Iterator[str]:
    """The lines of one call: the verdict first, then what it rests on. ``took`` is how long it took, in words."""
    counts = f"{outcome.steps} steps, {outcome.commands} commands, {outcome.states} states"
    counts += f", {took}" if took else ""
    if outcome.difference is not None:
        step = outcome.difference.step.event
        yield f"{name}: DIFFERS in step {step.step} (entry {step.seq}): {outcome.difference.what}. Same before: {counts}"
        yield from _difference(outcome, outcome.difference)
    elif outcome.violations:
        yield f"{name}: VIOLATES invariants. Commands and states are the same: {counts}"
    elif outcome.damage is not None:
        yield f"{name}: DAMAGED at entry {outcome.damage.seq}: {outcome.damage.why}. What stands before it replays: {counts}"
    else:
        yield f"{name}: OK, {counts}"
    for number, violation in outcome.violations:
        yield f"  step {number} violates invariant {violation.invariant.value}, {violation}"
    for field in sorted(outcome.newer):
        yield f"  not compared: {field}, which is newer than the record"
    for note in outcome.notes:
        yield f"  {note}"


def _difference(outcome: Outcome, difference: Difference) -> Iterator[str]:
    at = outcome.recorded.index(difference.step)
    yield "  recorded:"
    for place, step in enumerate(outcome.recorded[max(0, at - AROUND) : at + AROUND + 1], max(0, at - AROUND)):
        yield f"  {'>' if place == at else ' '} {_step(step)}"
    for line in unified_diff(
        [*_pretty(difference.expected)], [*_pretty(difference.got)], "recorded", "replayed", lineterm="", n=3
    ):
        yield f"  {line}"


def _step(step: Step) -> str:
    event = step.event
    values = {name: value for name, value in event.data.items() if name not in ("type", "at_ms")}
    shown = json.dumps(values, ensure_ascii=False)
    shown = shown if len(shown) <= _WIDTH else shown[: _WIDTH - 1] + "…"
    commands = " ".join(line.type for line in step.commands)
    return f"{event.step:5} {event.at_ms / 1000:9.3f} s  {event.type} {shown}{' → ' if commands else ''}{commands}"


def _pretty(values: Iterable[str]) -> Iterator[str]:
    """Each value over several lines; one that is no JSON as it is."""
    for value in values:
        try:
            yield from json.dumps(json.loads(value), indent=2, sort_keys=True, ensure_ascii=False).splitlines()
        except ValueError:
            yield value
