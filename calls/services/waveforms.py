"""Waveforms of recordings that were archived before there were any: made from the file, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from calls import surroundings
from calls.models import Recording
from calls.services import recordings
from calls.services.archive import write_waveform

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)


def missing() -> Iterator[Recording]:
    """Recordings without a waveform, the newest first."""
    yield from Recording.objects.filter(waveform__isnull=True).select_related("call").order_by("-pk").iterator()


def missing_of(call_sid: str) -> Recording | None:
    """The recording of this call, if it has no waveform."""
    found = Recording.objects.filter(waveform__isnull=True, call__call_sid=call_sid)
    return found.select_related("call").first()


def make(recording: Recording) -> bool:
    """Make its waveform. ``False`` where its file is gone or is no such recording, which is logged."""
    path = recordings.stored_path(surroundings.recordings_dir(), recording.file)
    if path is None:
        return False
    try:
        write_waveform(recording, recordings.picture_of(path))
    except (OSError, ValueError) as error:
        _log.warning("waveform.unreadable", call_sid=recording.call.call_sid, error=str(error))
        return False
    return True
