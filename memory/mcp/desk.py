"""Work for a token's holder: admitted to one caller, done in a thread, refused in clear words, and put on record.

A record (``memory.models.Access``) is written for each tool call, resource and prompt before its answer is sent: who, what,
of whom, with which outcome, never what was said. Where the database cannot take it the same goes into the log.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from django.db import DatabaseError, InterfaceError
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult

from memory.embedding.port import EmbeddingError
from memory.mcp.grants import Grant, GrantedToken, NotAdmitted, Scope
from memory.mcp.threads import in_thread
from memory.services import accesses

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.mcpserver import Context

    from memory.people import Person

_log = structlog.get_logger(__name__)

_USE = "memory.use"
#: Methods of the protocol that reach a memory, and the parameter that says which of its kind.
_RECORDED = {"tools/call": "name", "resources/read": "", "prompts/get": "name"}


@dataclass(slots=True)
class Use:
    """One use of the memory, as it goes on record."""

    action: str
    by: str
    caller_hash: str = ""
    outcome: str = "done"
    items: int = 0
    took_ms: int = 0


class Refused(Exception):
    """Why something was not done: ``outcome`` for the record, the text for who asked."""

    def __init__(self, outcome: str, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome


async def recorded(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware of the SDK's server: puts on record what became of each use."""
    if ctx.method not in _RECORDED or ctx.request is None:
        return await call_next(ctx)
    name = (ctx.params or {}).get(_RECORDED[ctx.method], "")
    use = ctx.request.scope[_USE] = Use(_action(ctx.method, name), _grant(ctx.request).by)
    began_s = time.perf_counter()
    try:
        result = await call_next(ctx)
        match result:
            case CallToolResult(is_error=True) | {"isError": True} if use.outcome == "done":
                use.outcome = "invalid"  # what the tool itself never saw: arguments, or its name
            case _:
                pass
        return result
    except BaseException as error:
        if use.outcome == "done":
            use.outcome = "invalid" if isinstance(error, MCPError | ValueError) else "failed"
        raise
    finally:
        use.took_ms = round((time.perf_counter() - began_s) * 1000)
        with anyio.CancelScope(shield=True):
            await record(use)


async def refused(token: GrantedToken, method: str, name: str) -> None:
    """Put on record that a token lacked the scope."""
    await record(Use(_action(method, name), token.grant.by, outcome="scope"))


async def record(use: Use) -> None:
    """Write a use down; never raises."""
    try:
        await in_thread(_write, use)
    except Exception as error:  # noqa: BLE001 - who asked has the answer either way; the log keeps the record
        fields = {"action": use.action, "by": use.by, "caller_hash": use.caller_hash, "outcome": use.outcome}
        _log.error("mcp.access_not_written", error=type(error).__name__, **fields, took_ms=use.took_ms)


def _write(use: Use) -> None:
    accesses.note(use.by, use.action, [use.caller_hash], outcome=use.outcome, items=use.items, took_ms=use.took_ms)


async def done[R](
    ctx: Context,
    scope: Scope,
    caller: str,
    work: Callable[[Person, str], R],
    count: Callable[[R], int] = lambda _: 1,
) -> R:
    """``work(person, by)`` for the caller that was named, in a thread.

    Raises ``Refused`` for a missing scope, a caller that is not admitted, and for what ``work`` refuses.
    """
    use = use_of(ctx)

    def for_caller(grant: Grant) -> R:
        person = grant.person(caller)
        use.caller_hash = person.key_hash
        return work(person, grant.by)

    return await done_for_holder(ctx, scope, for_caller, count)


async def done_for_holder[R](
    ctx: Context, scope: Scope, work: Callable[[Grant], R], count: Callable[[R], int] = lambda _: 1
) -> R:
    """``work(grant)`` in a thread, which sees to itself whose memory it touches. Raises ``Refused``."""
    grant, use = _grant(ctx.request_context.request), use_of(ctx)
    try:
        if scope not in grant.scopes:  # the gate has looked; this holds where a table there is wrong
            raise Refused("scope", f"this needs a token with the scope {scope}")
        result = await in_thread(_done, grant, work)
    except Refused as reason:
        use.outcome = reason.outcome
        raise
    except BaseException:
        use.outcome = "failed"
        raise
    use.items = count(result)
    return result


def _done[R](grant: Grant, work: Callable[[Grant], R]) -> R:
    try:
        return work(grant)
    except NotAdmitted as reason:
        raise Refused("caller", str(reason)) from None
    except LookupError:
        raise Refused("absent", "this caller's memory has nothing with that id") from None
    except ValueError as reason:
        raise Refused("invalid", str(reason)) from None
    except EmbeddingError as error:
        _log.warning("mcp.embedding_failed", error=str(error))
        raise Refused(
            "away", "the vectors of this meaning cannot be had at the moment: search by the local one"
        ) from error
    except (DatabaseError, InterfaceError) as error:
        _log.warning("mcp.database_failed", error=type(error).__name__)
        raise Refused("away", "the memory cannot be reached at the moment: try again later") from error


def use_of(ctx: Context) -> Use:
    """What will go on record of the request."""
    request: Any = ctx.request_context.request
    use: Use = request.scope[_USE]
    return use


def as_tool_error(reason: Refused) -> ToolError:
    """For a tool: a result that the model reads."""
    return ToolError(str(reason))


def as_protocol_error(reason: Refused) -> MCPError:
    """For resources and prompts: an error of the protocol."""
    return MCPError(INTERNAL_ERROR if reason.outcome == "away" else INVALID_PARAMS, str(reason))


def _grant(request: Any) -> Grant:
    token: GrantedToken = request.scope["user"].access_token
    return token.grant


def _action(method: str, name: object) -> str:
    kind = method.partition("/")[0].removesuffix("s")
    return f"{kind} {name}".strip()[:40] if kind != "tool" else str(name)[:40]
