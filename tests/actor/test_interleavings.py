"""Every scenario under random interleavings again, through the real actor: 20 in `make test`, 1,000 in `make test-long`.

Beyond what the core's own runs shuffle, letters wait in the mailbox here: an act may come before what was posted earlier
has been read.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from calls.mailbox import Letter, Mailbox
from calls.media.gate import Gate
from calls.replay.invariants import Violation
from tests.actor.stage import stages
from tests.unit.core.test_interleavings import ORDERS, QUICK_ORDERS, STORIES, holds, shuffled

if TYPE_CHECKING:
    from collections.abc import Callable


def run(name: str, orders: int) -> None:
    """This many runs, each a call of its own on one loop: what one of them left would show."""
    story = STORIES[name]
    with stages() as stage:
        for seed in range(orders):
            w = stage(story.profile, story.recall_ms)
            shuffled(story, Random(seed), w)
            holds(f"{name}, seed {seed}", story, w)


@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_holds_in_many_orders_through_the_actor(name: str) -> None:
    run(name, QUICK_ORDERS // 2)


@pytest.mark.long
@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_holds_in_every_order_through_the_actor(name: str) -> None:
    run(name, ORDERS)


# --- bugs around the core ---------------------------------------------------------------------------------------------------


async def newest_first(box: Mailbox) -> Letter:
    """The bug: letters that wait are read in the wrong order."""
    while not box._letters:
        box._arrived.clear()
        await box._arrived.wait()
    return box._letters.pop()


def nothing(*_: object) -> None:
    """The bug: it is forgotten."""


#: What is put in, and the scenario that shows it.
BUGS: dict[str, tuple[type, str, Callable[..., object], str]] = {
    "the gate lets old epochs through": (Gate, "drop", nothing, "A4"),
    "the gate does not clear": (Gate, "clear", nothing, "A1"),
    "letters are read newest first": (Mailbox, "get", newest_first, "C1"),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_known_bug_is_found(
    bug: tuple[type, str, Callable[..., object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, wrong, story = bug
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises((Violation, AssertionError, pytest.fail.Exception)):
        run(story, 200)
