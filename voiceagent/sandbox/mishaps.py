"""How faults are carried out, the same way for every vendor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, get_args

from voiceagent.sandbox.script import Fault, FaultKind

if TYPE_CHECKING:
    from aiohttp import web

FOREVER_S: Final = 24 * 3600
# Faults that strike before an answer or an upgrade begins; the others need a stream to strike in.
OPENING: Final = frozenset({"refuse", "hang", "slow"})
STREAMING: Final = frozenset(get_args(FaultKind)) - OPENING


class CutError(Exception):
    """The connection was torn down on purpose; nothing more can be sent on it."""


def cut(request: web.Request) -> None:
    """Reset the TCP connection under a request, without a closing frame or a final chunk."""
    if request.transport is not None:
        request.transport.abort()


async def before_headers(request: web.Request, fault: Fault | None) -> None:
    """Delay, hang or cut before the first byte of an answer, where the fault says so."""
    if fault is None:
        return
    if fault.kind in ("slow", "refuse") and fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    elif fault.kind == "hang":
        await asyncio.sleep(FOREVER_S if not fault.delay_ms else fault.delay_ms / 1000)
        cut(request)
        raise CutError


def strikes_at(fault: Fault | None, kind: str, sent: int) -> bool:
    """Whether a mid-stream fault of this kind is due after ``sent`` units."""
    return fault is not None and fault.kind == kind and sent == fault.after


async def stall(fault: Fault) -> None:
    """Say nothing for the fault's delay, or until the client gives up."""
    await asyncio.sleep(fault.delay_ms / 1000 if fault.delay_ms else FOREVER_S)
