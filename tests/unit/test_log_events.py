"""Every log line's event is a constant with a place in ``docs/logs.md``, at the level that stands there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
#: What is not a line of the product: the stand-ins, and rules kept as they were.
_OTHERS = {"sandbox", "cores"}
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_ROW = re.compile(r"^\| `([^`]+)` \| ([a-z, ]+) \|")


def calls_in(path: Path) -> Iterator[tuple[ast.expr, str]]:
    """What is logged in a file: the event's expression and the level; empty where that is chosen when it runs."""
    source = path.read_text()
    chosen = {"line"} if "line = _log" in source else {"self._line"} if path.name == "calllog.py" else set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and ast.unparse(function.value) in ("_log", "log", "logger"):
            if function.attr in _LEVELS:
                yield node.args[0], _LEVELS[function.attr]
        elif ast.unparse(function) in chosen:
            yield node.args[0], ""


def logged() -> dict[str, set[str]]:
    """Events of the code with their levels."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for package in ("calls", "memory", "voiceagent"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if _OTHERS & set(path.parts):
                continue
            for event, level in calls_in(path):
                assert isinstance(event, ast.Constant), f"{path.name}: {ast.unparse(event)} is no constant"
                assert _NAME.fullmatch(event.value), f"{path.name}: {event.value!r} is no name such as call.started"
                found[event.value] |= {level} - {""}
    return found


def test_every_event_is_documented_with_its_level_and_no_other() -> None:
    rows = [row for line in (ROOT / "docs/logs.md").read_text().splitlines() if (row := _ROW.match(line))]
    documented = {row[1]: set(row[2].split(", ")) for row in rows}
    assert len(documented) == len(rows), "docs/logs.md has two rows for one event"
    found = logged()
    assert len(found) > 80
    missing = {event: levels for event, levels in found.items() if event not in documented}
    assert missing == {}, "docs/logs.md needs a row for each of these, with its level"
    assert set(documented) - set(found) == set(), "docs/logs.md has rows for what is not logged any more"
    wrong = {event: levels for event, levels in found.items() if not levels <= documented[event]}
    assert wrong == {}, "docs/logs.md says another level"
