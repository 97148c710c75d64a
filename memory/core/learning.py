"""What the caller's own words change while the call runs, before anything is distilled: by the rules alone. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memory.core import rules, slots
from memory.core.values import Origin, Row, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memory.core.values import Candidate


def learned(said: Row, before: str, known: Iterable[Row], language: str = "en") -> list[Row]:
    """The rows that a line of the caller adds to the index or changes in it.

    ``said`` is the line, ``before`` what the agent had asked, ``known`` the facts that stand. A new value of a slot that
    holds one, or a taking back, supersedes what stands there; the merge after the call does the same for good.
    """
    facts = [row for row in known if row.slot]
    found = rules.extract(
        said.text, said_at=said.said_at, before=before, seq=said.origin.seq, language=language
    ).candidates
    changed: list[Row] = []
    for place, one in enumerate(found):
        if not one.slot:
            continue
        changed += [replace(row, status=Status.SUPERSEDED) for row in facts if _ends(one, row)]
        if not one.retracts:
            changed.append(_row(said, one, place))
    return changed


def _ends(one: Candidate, row: Row) -> bool:
    """Whether a fact stands no more after this."""
    slot = slots.find(one.slot)
    if row.slot != one.slot or slot is None:
        return False
    if one.retracts:
        return not slot.many or row.text == one.text
    return not slot.many and row.text != one.text


def _row(said: Row, one: Candidate, place: int) -> Row:
    return Row(
        f"{said.id}:{place}",
        one.kind,
        one.text,
        said.said_at,
        slot=one.slot,
        importance=one.importance,
        origin=Origin(said.origin.conversation, one.seq, one.start, one.end, said.origin.audio_ms, one.quote),
    )
