"""The tools of the memory's MCP server: each one request to ``memory.manager``, about one caller that the token reaches."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer  # noqa: TC002 - read at run time
from mcp_types import ToolAnnotations
from pydantic import Field

from memory.core.values import Kind
from memory.mcp import desk
from memory.mcp.desk import Refused, as_tool_error
from memory.mcp.grants import Scope
from memory.mcp.importing import Imported, imported
from memory.mcp.shapes import (
    MOST_HITS,
    Caller,
    Facts,
    Hits,
    Id,
    Moment,
    Page,
    Profile,
    Receipt,
    Remembered,
    Text,
    Word,
    facts_of,
    found,
    plain,
    profile_of,
    receipt,
    remembered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from memory.manager import MCPMemoryManager
    from memory.people import Person

#: Lines in one answer of an export.
PAGE_LINES = 200

#: Tool: what a token must be allowed. Resources and prompts read.
NEEDS = {
    "memory_search": Scope.READ,
    "memory_get": Scope.READ,
    "memory_timeline": Scope.READ,
    "memory_profile": Scope.READ,
    "memory_store": Scope.WRITE,
    "memory_supersede": Scope.WRITE,
    "memory_forget": Scope.ERASE,
    "memory_export": Scope.ADMIN,
    "memory_import": Scope.ADMIN,
}


def add(server: MCPServer, manager: MCPMemoryManager) -> None:
    """Put the tools on a server."""
    _reading(server, manager)
    _writing(server, manager)
    _moving(server, manager)


def _annotated(reads: bool = False, destroys: bool = False, once: bool = False) -> ToolAnnotations:
    return ToolAnnotations(
        read_only_hint=reads, destructive_hint=destroys, idempotent_hint=once or reads, open_world_hint=False
    )


async def _tool[R](
    ctx: Context,
    caller: str,
    work: Callable[[Person, str], R],
    count: Callable[[R], int] = lambda _: 1,
) -> R:
    """Work of the tool that ``ctx`` calls; the scope is the one of the table."""
    return await _checked(ctx, desk.done(ctx, NEEDS[_name(ctx)], caller, work, count))


async def _checked[R](ctx: Context, doing: Coroutine[Any, Any, R]) -> R:
    """What a tool does, with the reason where it is refused. The SDK drops arguments it does not know: a misspelt
    ``caller`` would be none at all."""
    tool = next(one for one in await ctx.mcp_server.list_tools() if one.name == _name(ctx))
    given = (ctx.request_context.params or {}).get("arguments") or ()
    try:
        if unknown := set(given) - set(tool.input_schema["properties"]):
            doing.close()
            raise Refused("invalid", f"{tool.name} has no argument {', '.join(sorted(unknown))}")
        return await doing
    except Refused as reason:
        desk.use_of(ctx).outcome = reason.outcome
        raise as_tool_error(reason) from None


def _name(ctx: Context) -> str:
    return str((ctx.request_context.params or {})["name"])


def _reading(server: MCPServer, manager: MCPMemoryManager) -> None:
    @server.tool(title="Search a caller's memory", annotations=_annotated(reads=True))
    async def memory_search(
        ctx: Context,
        query: Annotated[Text, Field(description="What is looked for, in a few words or a question.")],
        caller: Caller = "",
        limit: Annotated[int, Field(ge=1, le=MOST_HITS)] = 10,
        kinds: Annotated[list[Kind] | None, Field(description="Only these kinds.", max_length=len(Kind))] = None,
        as_of: Annotated[Moment | None, Field(description="As it stood then.")] = None,
        meaning: Annotated[
            Literal["local", "openai"],
            Field(description="By whose vectors: openai only where the server has a key for it."),
        ] = "local",
    ) -> Hits:
        """Find what a caller said, and what is known of them, by meaning and by words at once, best first."""

        def work(person: Person, _by: str) -> Hits:
            hits = manager.search(person, query, limit=limit, kinds=kinds, as_of=as_of, meaning=meaning)
            return Hits(hits=[found(hit) for hit in hits])

        return await _tool(ctx, caller, work, lambda result: len(result.hits))

    @server.tool(title="Look at one thing that is remembered", annotations=_annotated(reads=True))
    async def memory_get(ctx: Context, id: Id, caller: Caller = "") -> Remembered:
        """One fact with its sources, its history and the second of the recording, or something said with its neighbours."""

        def work(person: Person, _by: str) -> Remembered:
            seen = manager.get(person, id)
            if seen is None:
                raise LookupError(id)
            return remembered(seen)

        return await _tool(ctx, caller, work)

    @server.tool(title="What was true when", annotations=_annotated(reads=True))
    async def memory_timeline(
        ctx: Context,
        caller: Caller = "",
        as_of: Annotated[Moment | None, Field(description="Only what was true then.")] = None,
        known_at: Annotated[Moment | None, Field(description="As it was known then.")] = None,
        slot: Annotated[Word, Field(description="Only this slot, such as contact.time.")] = "",
    ) -> Facts:
        """Facts by slot, the newest first; without a time all there ever were, with what replaced them."""

        def work(person: Person, _by: str) -> Facts:
            return facts_of(manager.timeline(person, as_of=as_of, known_at=known_at, slot=slot))

        return await _tool(ctx, caller, work, lambda result: len(result.facts))

    @server.tool(title="A caller's profile card", annotations=_annotated(reads=True))
    async def memory_profile(ctx: Context, caller: Caller = "") -> Profile:
        """What an agent knows of a caller before a word was said."""
        return await _tool(ctx, caller, lambda person, _by: profile_of(manager.profile(person)))


def _writing(server: MCPServer, manager: MCPMemoryManager) -> None:
    @server.tool(title="Remember a fact", annotations=_annotated())
    async def memory_store(
        ctx: Context,
        kind: Annotated[Kind, Field(description="Any but utterance: what was said comes from calls and imports.")],
        text: Annotated[Text, Field(description="The fact as one sentence about the caller.")],
        slot: Annotated[Word, Field(description="What it is a value of, such as contact.time; empty: nothing.")] = "",
        value: Annotated[Word, Field(description="The slot's value.")] = "",
        caller: Caller = "",
    ) -> Facts:
        """Remember a fact of a caller. One that is known already is strengthened; another value of a slot that has one
        at a time replaces the older, which stays in the history."""

        def work(person: Person, by: str) -> Facts:
            return facts_of([manager.store(person, kind=kind, text=text, slot=slot, value=value, by=by)])

        return await _tool(ctx, caller, work)

    @server.tool(title="Correct a fact", annotations=_annotated(destroys=True))
    async def memory_supersede(
        ctx: Context,
        id: Id,
        text: Annotated[Text, Field(description="What is true instead, as one sentence.")],
        value: Annotated[Word, Field(description="The slot's new value.")] = "",
        was_wrong: Annotated[bool, Field(description="The older one never was true.")] = False,
        caller: Caller = "",
    ) -> Facts:
        """Put a fact in the place of another, which stays in the history. Calls in progress use the new one."""

        def work(person: Person, by: str) -> Facts:
            return facts_of([manager.supersede(person, id, text=text, value=value, was_wrong=was_wrong, by=by)])

        return await _tool(ctx, caller, work)

    @server.tool(title="Forget", annotations=_annotated(destroys=True, once=True))
    async def memory_forget(
        ctx: Context,
        id: Annotated[str, Field(description="A fact to forget.", max_length=64)] = "",
        conversation: Annotated[Word, Field(description="A conversation to forget, by its name.")] = "",
        everything: Annotated[bool, Field(description="Forget the caller altogether.")] = False,
        caller: Caller = "",
    ) -> Receipt:
        """Erase one fact, one conversation with what came from it, or the caller: for good, in every store. The answer
        is a receipt of what was removed where. One of the three must be given."""

        def work(person: Person, by: str) -> Receipt:
            if [bool(id), bool(conversation), everything].count(True) != 1:
                raise ValueError("say what to forget: one of id, conversation and everything")
            if everything:
                return receipt(manager.erase(person, by=by))
            if conversation:
                return receipt(manager.forget_conversation(person, conversation, by=by))
            return receipt(manager.forget(person, id, by=by))

        return await _tool(ctx, caller, work)


def _moving(server: MCPServer, manager: MCPMemoryManager) -> None:
    @server.tool(title="Export a caller's memory", annotations=_annotated(reads=True))
    async def memory_export(
        ctx: Context,
        caller: Caller = "",
        begin: Annotated[int, Field(description="Where to go on: next of the page before.", ge=0)] = 0,
    ) -> Page:
        """Everything that is kept of a caller, in lines that memory_import takes, page by page."""

        def work(person: Person, _by: str) -> Page:
            lines = list(islice(manager.export(person), begin, begin + PAGE_LINES + 1))
            more = begin + PAGE_LINES if len(lines) > PAGE_LINES else None
            return Page.model_validate({"lines": plain(lines[:PAGE_LINES]), "next": more})

        return await _tool(ctx, caller, work, lambda result: len(result.lines))

    @server.tool(title="Import", annotations=_annotated(once=True))
    async def memory_import(
        ctx: Context,
        lines: Annotated[
            str,
            Field(
                description="JSON objects, one a line: caller, conversation, role, text, kind and said_at of something "
                "said, or caller, kind and text of a fact; what memory_export gives is taken as well.",
                min_length=1,
            ),
        ],
    ) -> Imported:
        """Take lines into the memory of the callers they name. A line that cannot be taken is named by its number, and
        the rest goes in; the same lines again change nothing."""
        loop = asyncio.get_running_loop()

        def told(read: int, of: int) -> None:
            asyncio.run_coroutine_threadsafe(ctx.report_progress(read, of), loop)

        return await _checked(
            ctx,
            desk.done_for_holder(
                ctx,
                Scope.ADMIN,
                lambda grant: imported(manager, grant, lines, told),
                lambda result: result.said + result.facts,
            ),
        )
