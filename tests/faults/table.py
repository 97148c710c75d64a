"""The tables of ``docs/resilience.md`` that come from the cells: ``python -m tests.faults.table`` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from calls.conf import CartesiaConf, OpenAIConf
from calls.core.policy import TurnPolicy
from tests.faults import cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "resilience.md"
BEGIN, END = "<!-- fault matrix: made by `python -m tests.faults.table` -->", "<!-- end of the fault matrix -->"

_HEARD = {
    "answer": "the answer",
    "answer (beginning)": "what was said of the answer",
    "greeting": "the greeting",
    "goodbye": "the goodbye, and the call ends",
    "filler": "a few words to bridge the wait",
    "apology": "the apology of `model_failed`, in the agent's voice",
}


def limits_ms() -> dict[str, int]:
    """What the waits of a cell come to by default, in milliseconds."""
    policy, openai, cartesia = TurnPolicy(), OpenAIConf(""), CartesiaConf("")
    return {
        **{name: getattr(policy, name) for name in policy.__dataclass_fields__ if name.endswith("_ms")},
        "read_timeout_ms": openai.read_timeout_ms,
        "connect_timeout_ms": cartesia.connect_timeout_ms,
        **cells.OTHER_WAITS_MS,
    }


def rows() -> Iterator[list[str]]:
    """The matrix, a row for each cell, under its head."""
    yield ["who", "fault", "while", "the caller hears", "within", "the turn's record", "then"]
    known = limits_ms()
    for cell in cells.ALL:
        heard = ", ".join(_HEARD.get(what, f"the phrase `{what}`") for what in cell.hears)
        late_ms = sum(known[wait] for wait in cell.waits)
        kinds = ", ".join(f"`{cause}`" for cause in cell.causes)
        noted = f"; may note {kinds}" if kinds and cell.silent else f"; {kinds}" if kinds else ""
        follows = "the next turn is as always" if cell.end == "caller_hung_up" else f"the call ends: `{cell.end}`"
        within = f"{late_ms / 1000:g} s more" if late_ms else "as always"
        yield [cells.VENDORS[cell.vendor], cell.fault, cell.state, heard, within, f"`{cell.turn}`{noted}", follows]
    for own in cells.OWN:
        for moment, meaning in cells.MOMENTS.items():
            late_ms = own.later_ms if moment == "start" else 0
            within = f"{late_ms / 1000:g} s more" if late_ms else "as always"
            heard = "greeting and answers"
            yield [" and ".join(own.who), own.fault, meaning, heard, within, "complete, nothing twice", "it goes on"]


def markdown(table: Iterable[list[str]]) -> str:
    """Rows as a table."""
    head, *body = table
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section() -> str:
    """All that stands between the markers."""
    faults = "\n".join(f"- **{name}**: {meaning}." for name, meaning in {**cells.FAULTS, **cells.OWN_FAULTS}.items())
    count = len(cells.ALL) + len(cells.OWN) * len(cells.MOMENTS)
    return f"{count} cells.\n\n{faults}\n\n{markdown(rows())}"


def with_section(document: str) -> str:
    """The document with the section as the cells have it. Raises ``ValueError`` where the markers are missing."""
    written, count = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n\n{section()}\n\n{END}",
        document,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{DOCUMENT.name} must have {BEGIN} and {END} once")
    return written


if __name__ == "__main__":
    DOCUMENT.write_text(with_section(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
