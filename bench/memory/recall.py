"""Recall, what is wrongly recalled, and latency, with the configuration that calls use."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.memory import sets
from memory.core import text
from memory.core.budget import Budget, choose
from memory.core.index import CallerIndex, Ranking
from memory.embedding.vectors import vectors_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memory.embedding.port import Embedder

CUTS = (5, 10, 20)
SORTS = {
    "f": "plain questions",
    "p": "in other words",
    "c": "corrected facts",
    "h": "about the past",
    "n": "never said",
}


@dataclass(slots=True)
class Counts:
    """What came of the questions of one part."""

    asked: int = 0
    found: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CUTS, 0))
    in_prompt: int = 0
    stale: int = 0
    items: int = 0

    def line(self, name: str) -> str:
        """One line of the table; shares of the questions asked."""
        shares = "  ".join(f"@{cut} {self.found[cut] / self.asked:.3f}" for cut in CUTS)
        return (
            f"  {name:<38} {self.asked:>4}  {shares}  in prompt {self.in_prompt / self.asked:.3f}"
            f"  items {self.items / self.asked:.1f}  stale {self.stale}"
        )


def embedded(memory: sets.Memory, embedder: Embedder) -> sets.Memory:
    """The memory with the vectors of its rows."""
    vectors = vectors_for(memory.rows, embedder)
    memory.rows = [replace(row, vector=vector) for row, vector in zip(memory.rows, vectors, strict=True)]
    return memory


def ask(
    memory: sets.Memory, embedder: Embedder, counts: Callable[[str], Counts], ranking: Ranking, budget: Budget
) -> None:
    """Ask every question of a memory and count what is found."""
    index = CallerIndex(memory.rows, ranking)
    for question in memory.questions:
        asked = text.question(question.text)
        hits = choose(
            index.search(asked, embedder.embed_query(index.in_first_person(asked)), sets.NOW, max(CUTS)), budget
        )
        count = counts(question.sort)
        count.asked += 1
        ids = [hit.row.id for hit in hits]
        for cut in CUTS:
            count.found[cut] += question.answer in ids[:cut]
        chosen = [hit.row.id for hit in hits if hit.in_prompt]
        count.items += len(chosen)
        count.in_prompt += question.answer in chosen if question.answer else bool(chosen)
        count.stale += question.stale in chosen


def quality(embedder: Embedder) -> dict[str, Counts]:
    """The table by part. Of questions about what was never said, *in prompt* is the share that got anything at all."""
    table: dict[str, Counts] = defaultdict(Counts)
    ranking, budget = Ranking(unrelated_cosine=embedder.unrelated_cosine), Budget()
    for memory in sets.long_conversations():
        part = "long conversation" + _held(memory)
        ask(embedded(memory, embedder), embedder, lambda _, part=part: table[part], ranking, budget)  # type: ignore[misc]
    for held_out in (False, True):
        memory = sets.paraphrases(held_out=held_out)
        part = "paraphrases among 500" + _held(memory)
        ask(embedded(memory, embedder), embedder, lambda _, part=part: table[part], ranking, budget)  # type: ignore[misc]
    for memory in sets.callers():
        held = _held(memory)
        ask(
            embedded(memory, embedder),
            embedder,
            lambda sort, held=held: table[f"calls, {SORTS[sort]}{held}"],  # type: ignore[misc]
            ranking,
            budget,
        )
    return table


def latency(embedder: Embedder, rows: int = 2000) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile in ms: of embedding a question, of searching and of building an index of ``rows``."""
    memories = [*sets.long_conversations(), *sets.callers()]
    said = [row for memory in memories for row in memory.rows]
    questions = [text.question(question.text) for memory in memories for question in memory.questions]
    random = np.random.default_rng(7)
    dimension = embedder.dimension
    unit = random.standard_normal((rows, dimension)).astype(np.float32) / np.float32(dimension**0.5)
    filled = [replace(said[place % len(said)], id=str(place), vector=unit[place].tobytes()) for place in range(rows)]
    index = CallerIndex(filled, Ranking())
    vectors = [embedder.embed_query(asked) for asked in questions]
    pairs = zip(questions, vectors, strict=True)
    return {
        "embedding a question": _timed(partial(embedder.embed_query, asked) for asked in questions),
        f"searching {rows} rows": _timed(partial(index.search, asked, vector, sets.NOW) for asked, vector in pairs),
        f"building {rows} rows": _timed(partial(CallerIndex, filled) for _ in range(10)),
    }


def _timed(works: Iterable[Callable[[], object]]) -> tuple[float, float]:
    taken = []
    for work in works:
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99))


def _held(memory: sets.Memory) -> str:
    return ", held out" if memory.held_out else ""
