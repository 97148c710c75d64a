"""Which worker of `make test` gets which tests, what begins first, and what is not run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadFileScheduling

from tests.unit import pure

if TYPE_CHECKING:
    import pytest

#: Folders whose files share servers that take seconds to start: one worker has them all.
TOGETHER = ("tests/protocol/",)
#: What takes long in one piece comes first, so that no worker is left with it; then what mostly waits, beside the others.
COVERAGE = "tests/unit/test_pure_coverage.py"
FIRST = (COVERAGE, "tests/protocol/", "tests/live/", "tests/line/test_returning_callers.py")


class Scheduling(LoadFileScheduling):
    """A file at a time, or a folder of ``TOGETHER``."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def put_in_order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The same order in every worker, without what ``COVERAGE`` runs itself."""
    if any(item.nodeid.startswith(COVERAGE) for item in items):
        pure.keep(config, items, lambda item: not pure.covers(item))
    items.sort(key=lambda item: next((at for at, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST)))
