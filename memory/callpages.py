"""Where a conversation can be read and heard: told by whoever keeps the calls, asked by the admin.

The memory knows the names of conversations. That some of them are calls, with a page and a recording, is the calls' own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallPage:
    """Addresses of one call for one reader; ``audio`` is empty where there is no recording, or it is not theirs to hear."""

    timeline: str
    audio: str = ""


#: Names of conversations and the user who will follow the links, to the calls among them.
Finder = Callable[[Collection[str], Any], Mapping[str, CallPage]]

_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Let ``finder`` be asked. In an app's ``ready``."""
    if finder not in _finders:
        _finders.append(finder)


def find(names: Collection[str], user: Any) -> dict[str, CallPage]:
    """The calls among these conversations that this user may open."""
    wanted = {name for name in names if name}
    return {name: page for finder in _finders for name, page in finder(wanted, user).items()} if wanted else {}
