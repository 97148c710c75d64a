"""``manage.py memory_rewrap``: callers' keys under the first secret of ``MEMORY_KEY``."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from memory.management.shared import PARTLY, MemoryCommand
from memory.services.housekeeping import rewrap


class Command(MemoryCommand):
    """Exit code 0: the older secrets are needed no more; 1: there are keys that no secret opens."""

    help = "Seal callers' keys under the first secret of MEMORY_KEY, so that the others can be taken out."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Caller by caller; texts stay as they are."""
        done = Counter[str]()
        for done in rewrap():
            if self.stderr.isatty():
                self.stderr.write(f"\r{done.total()} callers", ending="")
                self.stderr.flush()
        self.stdout.write(
            f"{done['moved']} keys moved, {done['there']} were there already, {done['lost']} cannot be opened"
        )
        if done["lost"]:
            sys.exit(PARTLY)
