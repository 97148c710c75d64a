"""Cartesia's voice in every kind of trouble, in every state of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import cells
from tests.faults.matrix import each
from tests.faults.play import faults_of

if TYPE_CHECKING:
    from tests.faults.cells import Cell
    from tests.faults.matrix import Played

CELLS = cells.TTS
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(240)]


@pytest.mark.parametrize("cell", each(CELLS))
def test_what_the_caller_hears_and_what_stands_on_record(cell: Cell, played: Played) -> None:
    assert faults_of(cell, played[cell]) == []
