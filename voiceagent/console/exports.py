"""Files of rows, streamed: CSV for people's tables, line-JSON for programs."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import orjson
from django.http import StreamingHttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
#: With these a table calculates: text of a caller must stay text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def response(
    name: str, format: str, columns: Sequence[str], rows: AsyncIterator[Mapping[str, Any]]
) -> StreamingHttpResponse:
    """A download ``name.format`` of ``rows``, each with ``columns``. ``format`` is one of ``FORMATS``."""
    lines = _csv(columns, rows) if format == "csv" else _jsonl(rows)
    answer = StreamingHttpResponse(lines, content_type=FORMATS[format])
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.{format}"'
    return answer


async def _csv(columns: Sequence[str], rows: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    yield line(columns)
    async for row in rows:
        yield line([cell(row.get(column)) for column in columns])


async def _jsonl(rows: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE)


def line(cells: Sequence[str]) -> bytes:
    """One line of CSV (RFC 4180)."""
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()


def cell(value: Any) -> str:
    """A value as a cell that no table takes for a formula."""
    if value is None:
        return ""
    text = (
        value
        if isinstance(value, str)
        else orjson.dumps(value, default=str).decode()
        if isinstance(value, (dict, list))
        else str(value)
    )
    return inert(text) if isinstance(value, str) else text


def inert(text: str) -> str:
    """A text that no table takes for a formula: such a one begins with an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text
