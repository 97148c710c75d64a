"""The core's behaviour over some hundred random calls, pinned: whatever changes a command anywhere is noticed.

A change of behaviour changes how archived calls replay, so it must be meant. Where it is:
``python -m tests.unit.core.test_pinned`` writes the new digests (and where a release with these rules has been out, a new
``POLICY_VERSION``, see ``docs/replay.md``).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from calls.core import record
from tests.unit.core.fuzz import random_call

pytestmark = pytest.mark.search

PINNED = Path(__file__).with_name("pinned.json")
FIRST, BLOCKS, BLOCK = 5_000, 40, 8
#: From here on the calls have a memory.
MEMORY_FROM, MEMORY_BLOCKS = 7_000, 10
FIRSTS = [*range(FIRST, FIRST + BLOCKS * BLOCK, BLOCK), *range(MEMORY_FROM, MEMORY_FROM + MEMORY_BLOCKS * BLOCK, BLOCK)]


def digest(first: int) -> str:
    """Of every event, command and mode in a block of random calls."""
    found = hashlib.sha256()
    for seed in range(first, first + BLOCK):
        for _, event, commands, after in random_call(seed, recall_ms=200 if seed >= MEMORY_FROM else 0).steps:
            found.update(record.dumps(event))
            for command in commands:
                found.update(record.dumps(command))
            found.update(after.mode.encode() + after.phase.encode())
    return found.hexdigest()[:16]


@pytest.mark.parametrize("first", FIRSTS)
def test_the_core_does_what_it_did(first: int) -> None:
    pinned = json.loads(PINNED.read_text())
    assert digest(first) == pinned[str(first)], (
        f"the core behaves differently in random calls {first} to {first + BLOCK - 1}; "
        "if that is meant: python -m tests.unit.core.test_pinned"
    )


if __name__ == "__main__":
    blocks = {str(first): digest(first) for first in FIRSTS}
    PINNED.write_text(json.dumps(blocks, indent=0) + "\n")
