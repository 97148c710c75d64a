"""A body that nobody has a use for is refused before it is read, over a real socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.app.test_webhooks import agent
from tests.line.conftest import Line, line, unused_tcp_port
from voiceagent.body_limit import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["agent", "line", "unused_tcp_port"]  # fixtures

TWILIO, OTHER = (size for _, size in LIMITS)


async def ask(line: Line, path: str, head: str, pieces: Sequence[bytes] = ()) -> tuple[int, int]:
    """Status of the answer, and how many pieces of the body the server took before it."""
    where = urlsplit(line.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    form = "Content-Type: application/x-www-form-urlencoded"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\n{form}\r\n{head}\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    sent = 0
    try:
        for piece in pieces:
            await asyncio.wait({answer}, timeout=0.002)
            if answer.done():
                break
            writer.write(piece)
            await writer.drain()
            sent += 1
        async with asyncio.timeout(5):
            status = await answer
    finally:
        writer.close()
    return int(status.split()[1]), sent


def chunked(size: int, piece: int = 8192) -> list[bytes]:
    """A body of ``size`` bytes that does not say its length."""
    return [b"%x\r\n%s\r\n" % (piece, b"a" * piece)] * (size // piece) + [b"0\r\n\r\n"]


@pytest.mark.parametrize(
    ("path", "length"),
    [("/twilio/voice", TWILIO + 1), ("/twilio/nowhere", 10**12), ("/admin/login/", OTHER + 1), ("/", OTHER + 1)],
)
async def test_a_length_that_is_too_much_is_refused_at_once(line: Line, path: str, length: int) -> None:
    assert await ask(line, path, f"Content-Length: {length}") == (413, 0)


async def test_a_body_without_a_length_is_read_to_its_limit_only(line: Line) -> None:
    status, sent = await ask(line, "/twilio/voice", "Transfer-Encoding: chunked", chunked(100 * TWILIO))
    assert status == 413
    # What the sockets hold in between is not the server's.
    assert sent * 8192 < 50 * TWILIO


async def test_what_is_within_the_limit_reaches_the_signature(line: Line) -> None:
    form = b"A=" + b"a" * (TWILIO - 2)
    assert await ask(line, "/twilio/voice", f"Content-Length: {TWILIO}", [form]) == (403, 1)
    pieces = chunked(TWILIO)
    assert await ask(line, "/twilio/voice", "Transfer-Encoding: chunked", pieces) == (403, len(pieces))
