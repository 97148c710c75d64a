"""An import by a token's holder: only into the memory of callers that the token reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from memory.services.checking import Bad
from memory.services.lines import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memory.manager import MCPMemoryManager
    from memory.mcp.grants import Grant

#: In one request: each line is embedded before the answer, at some ten milliseconds.
MOST_LINES = 2000


class Failure(BaseModel):
    """A line that was not taken."""

    line: int
    why: str


class Imported(BaseModel):
    """What became of the lines. ``known``: those that were there already."""

    lines: int
    said: int
    facts: int
    known: int
    failures: list[Failure] = Field(description="by number, the first line is 1")


def imported(manager: MCPMemoryManager, grant: Grant, text: str, told: Callable[[int, int], None]) -> Imported:
    """Take ``text`` in, line by line; ``told(read, of)`` hears how far it is. Raises ``ValueError`` for too many lines."""
    lines = text.removesuffix("\n").split("\n")  # other ends of lines may stand in what was said
    if len(lines) > MOST_LINES:
        raise ValueError(f"{len(lines)} lines in one request: at most {MOST_LINES} are taken")
    failures: list[Failure] = []
    done = Imported(lines=0, said=0, facts=0, known=0, failures=[])
    for progress in manager.import_lines(_admitted(lines, grant, failures), by=grant.by):
        failures += (Failure(line=one.line, why=one.why) for one in progress.failures)
        done = Imported(
            lines=progress.lines, said=progress.said, facts=progress.facts, known=progress.known, failures=[]
        )
        told(progress.lines + progress.embedded, len(lines) + progress.to_embed)
    return done.model_copy(update={"failures": sorted(failures, key=lambda one: one.line)})


def _admitted(lines: list[str], grant: Grant, failures: list[Failure]) -> Iterator[str]:
    """The lines, with an empty one for each of a caller that the token does not reach: the others keep their numbers."""
    known: dict[str, bool] = {}
    for number, raw in enumerate(lines, 1):
        try:
            line = parsed(raw)
        except Bad:
            line = None  # its reason is told by who takes the lines
        if line is not None:
            if line.caller not in known:
                known[line.caller] = grant.admits(line.caller)
            if not known[line.caller]:
                failures.append(Failure(line=number, why="no such caller for this token"))
                yield ""
                continue
        yield raw
