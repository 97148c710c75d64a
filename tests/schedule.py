"""Which worker of `make test` gets which tests, what begins first, and what is not run twice."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from xdist.scheduler import LoadFileScheduling

from tests.unit import pure

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
COVERAGE = "tests/unit/test_pure_coverage.py"
#: Folders whose files share what takes seconds to start, servers or a browser, and how many workers share the files.
TOGETHER = {"tests/browser/": 2, "tests/protocol/": 1}
#: What takes long in one piece comes first, so that no worker is left with it; many quick ones come last.
FIRST = (COVERAGE, "tests/browser/", "tests/protocol/", "tests/live/", "tests/line/test_returning_callers.py")
LAST = "tests/unit/"
_GROUPS = {
    path.relative_to(ROOT).as_posix(): f"{folder}{group}"
    for folder, groups in TOGETHER.items()
    for path, group in zip(sorted((ROOT / folder).glob("test_*.py")), cycle(range(groups)))
}


class Scheduling(LoadFileScheduling):
    """A file at a time, or a group of those of ``TOGETHER``."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _GROUPS.get(file, file)


def put_in_order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same order in every worker, without what ``COVERAGE`` runs itself.

    Between ``FIRST`` and ``LAST`` the files are mixed: some wait for sound and sockets, some want a processor, and beside each
    other they fill the time that one kind leaves idle and the other fights for.
    """
    if any(item.nodeid.startswith(COVERAGE) for item in items):
        pure.keep(config, items, lambda item: not pure.covers(item))
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, str | int]:
    file = item.nodeid.split("::", 1)[0]
    for place, name in enumerate(FIRST):
        if file.startswith(name):
            return place, _GROUPS.get(file, "")
    return len(FIRST) + file.startswith(LAST), crc32(file.encode())
