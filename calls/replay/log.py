"""A call's log as it was recorded: lines, put together to steps as far as they are whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calls.core.policy import POLICY_VERSION


@dataclass(frozen=True, slots=True)
class Line:
    """An event that came in, or a command that followed; ``kind`` is ``event``, ``command`` or ``broken``.

    ``data`` is the tagged mapping of ``calls.core.record``. ``mode``, ``turn`` and ``digest`` are of the state after the step;
    the digest stands with the last event of what was written at once. ``error`` says what is wrong with the line.
    """

    seq: int
    step: int
    kind: str
    type: str
    at_ms: int
    wall_ms: int
    mode: str
    turn: int
    data: dict[str, Any]
    digest: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call: its lines, the layout of its digests, and how many lines there should be, where that is known.

    ``facts`` are what is known of the call besides; ``damage`` says how its file was broken, where it was.
    """

    call_sid: str
    lines: tuple[Line, ...]
    layout: Mapping[str, Sequence[str]]
    entries: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """An event with the commands that followed it. The last step before a damage may have lost some of them."""

    event: Line
    commands: tuple[Line, ...]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a log cannot be followed any further, and why. What stands before ``seq`` is in order."""

    seq: int
    why: str


def steps_of(record: CallRecord) -> tuple[list[Step], Damage | None]:
    """The steps up to the end or the first damage."""
    found: list[tuple[Line, list[Line]]] = []
    damage = None
    for seq, line in enumerate(sorted(record.lines, key=lambda line: line.seq), 1):
        why = _trouble(line, seq, found)
        if why:
            damage = Damage(seq, why)
            break
        if line.kind == "event":
            found.append((line, []))
        else:
            found[-1][1].append(line)
    damage = damage or _missing_end(record)
    steps = [Step(event, tuple(commands)) for event, commands in found]
    if damage is not None and steps:
        last = steps[-1]
        steps[-1] = Step(last.event, last.commands, is_whole=False)
    return steps, damage


def _trouble(line: Line, seq: int, found: Sequence[tuple[Line, list[Line]]]) -> str:
    """Why this line cannot follow here; empty where it can."""
    if line.seq > seq:
        return f"entry {seq} is missing" if line.seq == seq + 1 else f"entries {seq} to {line.seq - 1} are missing"
    if line.seq < seq:
        return f"entry {line.seq} stands twice"
    if line.kind not in ("event", "command"):
        return line.error or f"an entry of kind {line.kind!r}"
    if line.data.get("type") != line.type:
        return f"the entry does not hold a {line.type!r}"
    if line.step != len(found) + (line.kind == "event"):
        return f"a {line.kind} of step {line.step} stands after step {len(found)}"
    return ""


def _missing_end(record: CallRecord) -> Damage | None:
    have = len(record.lines)
    if record.damage:
        return Damage(have + 1, record.damage)
    if record.entries is not None and have < record.entries:
        return Damage(have + 1, f"{record.entries} entries were archived, {have} are left")
    return None


def version_of(lines: Iterable[Line]) -> int:
    """The policy version that a record names; 1 where its call began and names none, today's for one that never began,
    since no policy was in force."""
    for line in lines:
        if line.type == "CallStarted":
            try:
                version = line.data["agent"]["policy"]["version"]
            except (KeyError, TypeError):
                return 1
            return version if isinstance(version, int) else 1
    return POLICY_VERSION
