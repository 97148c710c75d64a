"""What tests of whole products share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.house import remove_outside
from voiceagent.embedded.servers import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all tests of a file: its database is made once."""
    folder = tmp_path_factory.mktemp("product") / "data"
    yield folder
    with running({"DATA_DIR": str(folder)}):
        pass  # whoever leaves last stops the servers, those too that a failed test has left
    remove_outside(folder)
