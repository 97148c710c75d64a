"""What the rules and the merge make of the evaluation set: whether a re-wording, a correction or a second run goes wrong.

``data/rewordings.txt`` holds groups of sayings, one group a paragraph: all of a group say the same of the caller. Each is
told in a call of its own, so each group must leave one fact. ``data/calls.txt`` is told call by call.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bench.memory import sets
from memory.core import slots
from memory.core.decisions import apply
from memory.core.merge import Merging, merge
from memory.core.rules import extract_all
from memory.core.values import Known, Said, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_DAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(slots=True)
class Errors:
    """What went wrong, of how many chances."""

    rewordings: int = 0
    not_found: int = 0
    doubled: int = 0
    facts: int = 0
    two_values: int = 0
    again: int = 0
    corrections: int = 0
    stale_kept: int = 0

    def lines(self) -> list[str]:
        """For the table."""
        return [
            f"  re-wordings {self.rewordings}: {self.doubled} made a second fact, {self.not_found} were not understood by the rules",
            f"  facts of the calls {self.facts}: {self.two_values} slots of one value hold two, {self.again} changed by a second run",
            f"  corrections the rules understood {self.corrections}: {self.stale_kept} left the old value current",
        ]


def errors() -> Errors:
    """Tell everything to the rules and the merge, and count."""
    found = Errors()
    for group in (sets.DATA / "rewordings.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        _reworded(group.splitlines(), found)
    for memory in sets.callers():
        _called(memory, found)
    return found


def _reworded(sayings: Sequence[str], found: Errors) -> None:
    ids = map(str, itertools.count())
    known: list[Known] = []
    for day, saying in enumerate(sayings):
        before = len(known)
        said = Said(0, "user", saying, _FIRST_DAY + timedelta(days=day))
        candidates = extract_all([said]).candidates
        known = _told(known, [said], f"call {day}", ids)
        found.rewordings += 1
        found.not_found += not candidates
        found.doubled += len(known) > before and before > 0


def _called(memory: sets.Memory, found: Errors) -> None:
    ids = map(str, itertools.count())
    known: list[Known] = []
    rows = [row for row in memory.rows if row.status is Status.ACTIVE]
    for day, group in itertools.groupby(rows, key=lambda row: row.said_at.date()):
        lines = [Said(row.origin.seq, row.role, row.text, row.said_at) for row in group]
        known = _told(known, lines, day.isoformat(), ids)
        found.again += _told(known, lines, day.isoformat(), ids) != known
    current = [fact for fact in known if fact.status is Status.ACTIVE and fact.valid_to is None]
    found.facts += len(current)
    single = [fact.slot for fact in current if _holds_one(fact.slot)]
    found.two_values += len(single) - len(set(single))
    by_seq = {fact.origin.seq: fact for fact in known}
    for question in memory.questions:
        new, old = (by_seq.get(int(at.rpartition("-")[2] or -1)) for at in (question.answer, question.stale))
        if new is not None and old is not None and new.slot == old.slot and _holds_one(new.slot):
            found.corrections += 1
            found.stale_kept += old in current


def _told(known: Sequence[Known], lines: Sequence[Said], conversation: str, ids: map[str]) -> list[Known]:
    how = Merging(conversation, {line.seq: line.said_at for line in lines}, sets.NOW, lambda: next(ids))
    return apply(known, merge(known, extract_all(lines).candidates, how), conversation)


def _holds_one(name: str) -> bool:
    slot = slots.find(name) if name else None
    return slot is not None and not slot.many
