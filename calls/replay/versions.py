"""Which core a record replays with.

A record names the policy version whose rules it was made by. Today's version is ``calls.core``; an older one is a copy of
that package as it was, in ``calls.replay.cores``. A change to what the rules mean takes three steps: freeze the core as
it is, change it, raise ``POLICY_VERSION``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from calls.core.policy import POLICY_VERSION
from calls.replay import cores

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "calls.core"


class UnknownVersion(LookupError):
    """A record names a policy version that this release has no core for; the message says which it has."""


@dataclass(frozen=True, slots=True)
class Core:
    """The rules of one version: how it steps, what it starts from, how its events and commands are read and written.

    ``vocabulary`` is every text that it says itself or compares with: back-channels, phrases and their keys, fillers.
    """

    version: int
    step: Callable[[Any, Any], tuple[Any, tuple[Any, ...]]]
    state: type
    event_from: Callable[[dict[str, Any]], Any]
    dumps: Callable[[Any], bytes]
    vocabulary: frozenset[str]

    @property
    def is_todays(self) -> bool:
        """Whether it is the one that calls run with, whose types the checker knows."""
        return self.version == POLICY_VERSION


def core_of(version: int) -> Core:
    """The core with the rules of this version. Raises ``UnknownVersion``."""
    if version == POLICY_VERSION:
        return _load(version, PACKAGE)
    if version not in frozen():
        known = ", ".join(map(str, sorted({POLICY_VERSION, *frozen()})))
        raise UnknownVersion(f"there is no core of policy version {version}; this release has {known}")
    return _load(version, f"{cores.__name__}.v{version}")


def frozen() -> set[int]:
    """The older versions that there are."""
    return {int(found.name[1:]) for found in iter_modules(cores.__path__) if re.fullmatch(r"v\d+", found.name)}


@cache
def _load(version: int, package: str) -> Core:
    names = ("machine", "state", "record", "wording", "phrases")
    machine, state, record, wording, phrases = (import_module(f"{package}.{name}") for name in names)
    said = [value for name, value in vars(phrases).items() if not name.startswith("__")]
    keys = [list(texts) for texts in phrases.PHRASES.values()]
    vocabulary = frozenset(_texts([wording.BACK_CHANNELS, said, keys]))
    return Core(version, machine.step, state.State, record.event_from, record.dumps, vocabulary)


def _texts(value: Any) -> Iterator[str]:
    """All texts in nested containers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple | frozenset):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def freeze(source: Path, target: Path, version: int) -> list[Path]:
    """Copy the core in the folder ``source`` as version ``version`` below ``target``. Gives the files written.

    Raises ``FileExistsError`` where that version is frozen already: what it means must not change.
    """
    folder = target / f"v{version}"
    folder.mkdir()
    written = []
    for file in sorted(source.glob("*.py")):
        copy = folder / file.name
        text = file.read_text(encoding="utf-8")
        copy.write_text(re.sub(rf"\b{re.escape(PACKAGE)}\b", f"{cores.__name__}.v{version}", text), encoding="utf-8")
        written.append(copy)
    return written
