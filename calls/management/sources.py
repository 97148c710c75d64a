"""What commands about recorded calls share: a name on the command line as a record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from calls.replay.callfile import CallFile, read
from calls.services import transfer

if TYPE_CHECKING:
    from calls.replay.log import CallRecord

FILE_SUFFIX = ".call.jsonl.gz"


def file_of(name: str) -> CallFile:
    """The call in this file. Raises ``OSError`` and ``CallFileError``."""
    return read(Path(name).read_bytes())


def record_of(name: str) -> CallRecord:
    """The call in this file, or the archived one of this id. Raises what ``file_of`` raises, and ``TransferError``."""
    return file_of(name).record if Path(name).is_file() or Path(name).suffix else transfer.record_of(name)
