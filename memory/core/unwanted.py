"""What a caller took back in the same breath: asked to be forgotten in the call in which it was said. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory.core.language import Scope
from memory.core.text import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memory.core.rules import Forget
    from memory.core.values import Candidate, Said


def without_forgotten(
    candidates: Iterable[Candidate], forgets: Sequence[Forget], lines: Sequence[Said]
) -> tuple[list[Candidate], frozenset[int]]:
    """The candidates that were not asked to be forgotten afterwards, and the numbers of the lines that say the others.

    What is said again after the request is news. Whether the function ``forget`` ran in the call makes no difference.
    """
    spoken = sorted(line.seq for line in lines if line.role == "user")
    kept: list[Candidate] = []
    lines_of_others: set[int] = set()
    for one in candidates:
        if any(_means(wish, one, spoken) for wish in forgets):
            lines_of_others.add(one.seq)
        else:
            kept.append(one)
    everything = [wish.seq for wish in forgets if wish.scope is Scope.ALL]
    lines_of_others.update(seq for seq in spoken if everything and seq <= max(everything))
    return kept, frozenset(lines_of_others)


def _means(wish: Forget, one: Candidate, spoken: Sequence[int]) -> bool:
    if (one.seq, one.start) >= (wish.seq, wish.start):
        return False
    match wish.scope:
        case Scope.ALL:
            return True
        case Scope.LAST:
            before = [seq for seq in spoken if seq < wish.seq]
            return one.seq == wish.seq or one.seq == max(before, default=-1)
        case Scope.SLOT:
            return one.slot in wish.slots
        case _:
            topic = set(tokens(wish.topic))
            return bool(topic) and topic <= set(tokens(f"{one.slot.replace('.', ' ')} {one.text}"))
