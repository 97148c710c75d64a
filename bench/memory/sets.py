"""The evaluation set: conversations and questions, written for this project, in ``data/``.

Three parts. *Long*: conversations of two people over a year, ``Name: text`` lines, ``== day`` begins a session, ``[mark]``
an answer; then ``mark | question``. *Calls*: callers with several calls each; questions are ``f`` plain, ``p`` in other words,
``c new<old`` about something that was corrected, ``h`` about what was so before, ``n`` about what was never said.
*Paraphrases*: sayings, each with a question that shares no telling word, among five hundred turns of the other parts.

A part of each is held out: nothing was ever tuned on it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memory.core import text
from memory.core.values import Kind, Origin, Row, Status

DATA = Path(__file__).parent / "data"
#: Asked some weeks after the last of the conversations.
NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
UNRELATED_TURNS = 500
_HELD_OUT_LONG = ("long-ruth-sam",)
_HELD_OUT_PARAPHRASES = 30
_LINE = re.compile(r"(?P<name>\w+): (?:\[(?P<mark>\w+)\] )?(?P<text>.+)")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of which sort, and the ids of the rows that answer it. ``stale`` is the row that no longer does."""

    text: str
    sort: str = "f"
    answer: str = ""
    stale: str = ""


@dataclass(slots=True)
class Memory:
    """One caller's rows and the questions about them."""

    name: str
    held_out: bool
    rows: list[Row] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


def long_conversations() -> list[Memory]:
    """Each as the memory of one caller, with the questions about it."""
    found = []
    for path in sorted(DATA.glob("long-*.txt")):
        told, _, asked = path.read_text(encoding="utf-8").partition("\n??\n")
        memory = Memory(path.stem, path.stem in _HELD_OUT_LONG)
        marks = _tell(memory, told)
        for line in asked.strip().splitlines():
            mark, question = line.split(" | ")
            memory.questions.append(Question(question, answer=marks[mark]))
        found.append(memory)
    return found


def callers() -> list[Memory]:
    """The callers; a fact that was corrected later is there as the superseded row that distilling leaves."""
    found = []
    for place, part in enumerate((DATA / "calls.txt").read_text(encoding="utf-8").split("=== ")[1:]):
        name, _, rest = part.partition("\n")
        told, _, asked = rest.partition("??\n")
        memory = Memory(name, held_out=place % 3 == 2)
        marks = _tell(memory, told)
        for line in asked.strip().splitlines():
            sort, _, target = line.split(" | ")[0].partition(" ")
            new, _, old = target.strip().partition("<")
            question = line.split(" | ")[1]
            memory.questions.append(Question(question, sort, marks.get(new, ""), marks.get(old, "")))
            assert sort == "n" or new in marks, line
        stale = {question.stale for question in memory.questions if question.stale}
        memory.rows += [_superseded(row) for row in memory.rows if row.id in stale]
        found.append(memory)
    return found


def paraphrases(*, held_out: bool) -> Memory:
    """The sayings among turns that have nothing to do with them, in one conversation."""
    lines = [line for line in (DATA / "paraphrases.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pairs = [line.split(" | ") for line in lines]
    turns = [row.text for memory in (*long_conversations(), *callers()) for row in memory.rows]
    shuffled = random.Random(7)
    said = [*shuffled.sample(turns, UNRELATED_TURNS), *(pair[0] for pair in pairs)]
    shuffled.shuffle(said)
    memory = Memory("paraphrases", held_out)
    for seq, line in enumerate(said):
        before = text.before_of(said[max(0, seq - text.BEFORE_TURNS) : seq])
        memory.rows.append(_row("paraphrases", seq, "user", line, NOW - timedelta(days=30), before))
    ids = {row.text: row.id for row in memory.rows}
    chosen = pairs[-_HELD_OUT_PARAPHRASES:] if held_out else pairs[:-_HELD_OUT_PARAPHRASES]
    memory.questions = [Question(question, "p", ids[saying]) for saying, question in chosen]
    return memory


def _tell(memory: Memory, told: str) -> dict[str, str]:
    """Add the turns to the memory. Returns the row's id for each mark."""
    marks: dict[str, str] = {}
    names: list[str] = []
    turns: list[str] = []
    day = NOW
    for line in told.strip().splitlines():
        if line.startswith("== "):
            day = datetime.fromisoformat(line[3:]).replace(tzinfo=UTC)
            turns = []
            continue
        found = _LINE.fullmatch(line)
        assert found, line
        if found["name"] not in names:
            names.append(found["name"])
        role = "assistant" if found["name"] == "A" or (names.index(found["name"]) == 1 and "C" not in names) else "user"
        row = _row(memory.name, len(memory.rows), role, found["text"], day, text.before_of(turns))
        memory.rows.append(row)
        turns.append(found["text"])
        if found["mark"]:
            marks[found["mark"]] = row.id
    return marks


def _row(conversation: str, seq: int, role: str, said: str, said_at: datetime, before: str) -> Row:
    return Row(
        id=f"{conversation}-{seq}",
        kind=Kind.UTTERANCE,
        text=said,
        said_at=said_at + timedelta(seconds=10 * seq),
        role=role,
        before=before,
        origin=Origin(conversation, seq),
    )


def _superseded(row: Row) -> Row:
    return Row(f"{row.id}-fact", Kind.FACT, row.text, row.said_at, status=Status.SUPERSEDED, origin=row.origin)
