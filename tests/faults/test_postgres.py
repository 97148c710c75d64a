"""PostgreSQL in trouble, alone and together with Redis, while calls begin, go on and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import cells
from tests.faults.matrix import each
from tests.faults.weather import judge

if TYPE_CHECKING:
    from tests.faults.cells import Own
    from tests.faults.storms import Stormed

CELLS = [*cells.POSTGRES, *cells.BOTH]
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(240)]


@pytest.mark.parametrize("moment", cells.MOMENTS)
@pytest.mark.parametrize("cell", each(CELLS))
def test_calls_go_on_and_are_on_record(cell: Own, moment: str, stormed: Stormed) -> None:
    judge(cell, moment, stormed[cell])
