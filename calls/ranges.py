"""A file as a response that browsers can seek in: one byte range, RFC 9110 section 14.

Read in a thread and sent in pieces, so that neither memory nor the event loop notices a long recording.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_PIECE = 64 * 1024


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte that a ``Range`` header asks for, or ``None`` where the whole file is to be sent.

    A header that is malformed or asks for several ranges counts as none, as the standard allows. Raises
    ``ValueError`` for a range outside the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
        if int(last) == 0:
            raise ValueError("an empty range")
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < int(first):
            return None
    if start >= size:
        raise ValueError("a range beyond the end")
    return start, end


def file_response(path: Path, content_type: str, range_header: str) -> HttpResponseBase:
    """The file or the part asked for: 200, 206 or 416. Raises ``FileNotFoundError``."""
    size = path.stat().st_size
    try:
        part = wanted(range_header, size)
    except ValueError:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    start, end = part or (0, size - 1)
    response = StreamingHttpResponse(
        _pieces(path, start, end - start + 1), status=206 if part else 200, content_type=content_type
    )
    response["Accept-Ranges"] = "bytes"
    response["Content-Length"] = str(end - start + 1)
    if part:
        response["Content-Range"] = f"bytes {start}-{end}/{size}"
    return response


async def _pieces(path: Path, start: int, count: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, start)
        while count > 0 and (piece := await asyncio.to_thread(file.read, min(_PIECE, count))):
            count -= len(piece)
            yield piece
    finally:
        await asyncio.to_thread(file.close)
