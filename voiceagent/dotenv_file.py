"""The ``.env`` file: one assignment a line, and a line that is anything else stops the start."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from voiceagent.env import EnvError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from dotenv.parser import Binding

#: ``A=1 B=2``: what looks like an assignment behind an assignment. A value that is meant so is put in quotes.
_SECOND = re.compile(r"[\s;,](?:export\s+)?([A-Z][A-Z0-9_]+)=")
_QUOTED = re.compile(r"\s*['\"]")


def load_dotenv(path: Path, environ: MutableMapping[str, str]) -> None:
    """Put the file's values into ``environ``; what is set already, and not empty, stays. Raises EnvError."""
    text = _read(path)
    if problems := [problem for line in parse_stream(StringIO(text)) if (problem := _problem(line))]:
        raise EnvError([f"{path} {problem}" for problem in problems])
    for name, value in dotenv_values(stream=StringIO(text)).items():
        if value and not environ.get(name):
            environ[name] = value


def names_in(path: Path) -> list[str]:
    """The variables that the file assigns."""
    return [line.key for line in parse_stream(StringIO(_read(path))) if line.key]


def _read(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvError([f"{path} cannot be read as UTF-8 text: {error}"]) from error


def _problem(line: Binding) -> str:
    """What is wrong with a line; nothing of its value, which may be a secret."""
    raw = line.original.string
    where = f"line {line.original.line + raw[: len(raw) - len(raw.lstrip())].count(chr(10))}"
    # Where the parser is content, its value is without quotes and comments; else look at the line itself.
    assigned = raw.strip().partition("=")[2]
    if not line.error:
        assigned = "" if _QUOTED.match(assigned) else line.value or ""
    if second := _SECOND.search(assigned):
        return f"{where} has a second assignment, {second[1]}: put each on a line of its own, or the value in quotes"
    if line.error:
        return f"{where} cannot be read: it must be NAME=value"
    if line.key and line.value is None:
        return f"{where} has {line.key} without a value: it must be NAME=value"
    return ""
