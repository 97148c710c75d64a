"""``docs/states.md`` is what the tables say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from calls.core.ending import TIMERS
from calls.core.machine import ALWAYS, AROUND, TABLE
from voiceagent.management.commands import state_diagram

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_in_the_repository_is_current() -> None:
    call_command("state_diagram", "--check")


def test_every_row_and_timer_is_on_the_page() -> None:
    text = state_diagram.page()
    rows = [row for rows in (*TABLE.values(), *AROUND.values()) for row in rows.values()]
    for handler in (*(row.handler for row in rows), *TIMERS.values()):
        assert f"`{handler.__module__.rpartition('.')[2]}.{handler.__name__}`" in text
    assert all(event.__name__ in text for event in (*ALWAYS, *(event for rows in TABLE.values() for event in rows)))


def test_the_phases_are_left_by_events_that_their_tables_admit() -> None:
    admitted = {event.__name__ for rows in (*TABLE.values(), *AROUND.values()) for event in rows}
    named = {
        word for _, events, _ in state_diagram.PHASES for word in events.replace(",", "").split() if word[0].isupper()
    }
    assert named <= admitted
    assert {event for _, event, _ in state_diagram.COMMON} <= {event.__name__ for event in ALWAYS}


def test_a_page_that_is_out_of_date_fails_the_check_and_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "states.md"
    monkeypatch.setattr(state_diagram, "PAGE", page)
    with pytest.raises(CommandError, match=r"states\.md is out of date"):
        call_command("state_diagram", "--check")
    assert not page.exists()
    call_command("state_diagram")
    assert page.read_text() == state_diagram.page()
    call_command("state_diagram", "--check")
