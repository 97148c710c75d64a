"""Chat Completions, which other servers speak too."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from calls.providers.errors import VendorError
from calls.providers.openai.errors import VENDOR, VENDOR_EXCEPTIONS
from calls.providers.openai.stream import TAIL_S, Piece, Request, count, schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk

    from calls.core.commands import Message

_REASONS: Final = {"stop": "stop", "length": "length", "content_filter": "content_filter"}


class ChatStrategy:
    """Streaming Chat Completions with function calls put together from their pieces."""

    async def stream(self, client: AsyncOpenAI, request: Request) -> AsyncGenerator[Piece]:
        """See ``Strategy``."""
        answer = _Answer(request)
        created = cast("AsyncStream[ChatCompletionChunk]", await client.chat.completions.create(**body(request)))
        async with created as chunks:
            while not answer.reason:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    raise _ended_early(answer, created) from None
                for piece in answer.pieces(chunk):
                    yield piece
            await answer.account(chunks)
        for piece in answer.ending():
            yield piece


def _ended_early(answer: _Answer, created: AsyncStream[ChatCompletionChunk]) -> VendorError:
    streamed = answer.begun or "event-stream" in created.response.headers.get("content-type", "")
    return VendorError("cut" if streamed else "garbage", VENDOR, detail="the answer ended without an end")


class _Answer:
    """The state of one answer while it comes."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._calls: dict[int, dict[str, str]] = {}
        self._usage = (0, 0, 0)
        self.reason = ""
        self.begun = False

    def pieces(self, chunk: Any) -> list[Piece]:
        """What a chunk tells. Raises ``VendorError`` if it is not one."""
        self.begun = True
        try:
            return self._read(chunk)
        except (AttributeError, TypeError, KeyError, IndexError) as error:
            # The SDK builds its models from anything without validating them.
            raise VendorError("garbage", VENDOR, detail=f"not a chunk: {error}") from error

    def _read(self, chunk: Any) -> list[Piece]:
        found: list[Piece] = []
        if getattr(chunk, "usage", None) is not None:
            self._usage = _usage(chunk.usage)
        for choice in chunk.choices:
            delta = choice.delta
            texts = (delta.content, getattr(delta, "refusal", None))
            found += [self._request.text(text) for text in texts if text]
            for call in delta.tool_calls or ():
                self._add(call)
                found.append(None)
            if choice.finish_reason:
                self.reason = str(choice.finish_reason)
        return found

    def _add(self, call: Any) -> None:
        """Calls are told apart by their index; id and name come once, arguments in pieces.

        Some servers leave the index out and send each call whole: then an id begins a new one.
        """
        index = call.index
        if index is None:
            index = len(self._calls) if call.id else max(len(self._calls) - 1, 0)
        elif not isinstance(index, int):
            raise TypeError(f"the index of a function call is a {type(index).__name__}")
        kept = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        kept["id"] = call.id or kept["id"]
        if call.function is not None:
            kept["name"] += call.function.name or ""
            kept["arguments"] += call.function.arguments or ""

    async def account(self, chunks: AsyncStream[ChatCompletionChunk]) -> None:
        """Read on for the usage. The answer is complete: what fails here is only not counted."""
        with contextlib.suppress(StopAsyncIteration, TimeoutError, VendorError, *VENDOR_EXCEPTIONS):
            async with asyncio.timeout(TAIL_S):
                while True:
                    self.pieces(await anext(chunks))

    def ending(self) -> list[Piece]:
        """Function calls in order, then the end."""
        calls: list[Piece] = [
            self._request.tool_call(call["id"], call["name"], call["arguments"], number)
            for number, (_, call) in enumerate(sorted(self._calls.items()))
        ]
        reason = "tool_calls" if calls else _REASONS.get(self.reason, "stop")
        return [*calls, self._request.finished(reason, self._usage)]


def _usage(usage: Any) -> tuple[int, int, int]:
    details = getattr(usage, "prompt_tokens_details", None)
    return (
        count(getattr(usage, "prompt_tokens", 0)),
        count(getattr(usage, "completion_tokens", 0)),
        count(getattr(details, "cached_tokens", 0)),
    )


def body(request: Request) -> dict[str, Any]:
    """The request's parameters, only those that the model knows."""
    traits, agent = request.traits, request.agent
    options: dict[str, Any] = {"include_usage": True}
    made: dict[str, Any] = {
        "model": request.model,
        "messages": [message(entry, traits.role) for entry in request.ask.messages],
        "stream": True,
        "stream_options": options,
        traits.length_parameter: request.max_tokens,
    }
    if traits.vendor_parameters:
        options["include_obfuscation"] = False
        made |= {"store": False, "prompt_cache_key": request.cache_key}
    if traits.effort:
        made["reasoning_effort"] = traits.effort
    if traits.verbosity:
        made["verbosity"] = "low"
    if agent.tools:
        made["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": schema(tool),
                },
            }
            for tool in agent.tools
        ]
        made["parallel_tool_calls"] = False
    return made


def message(entry: Message, role: str) -> dict[str, Any]:
    """One entry of the history; ``role`` is the model's word for instructions."""
    if entry.role == "developer":
        return {"role": role, "content": entry.text}
    if entry.role == "tool":
        return {"role": "tool", "tool_call_id": entry.call_id, "content": entry.text}
    if entry.tool_calls:
        return {
            "role": "assistant",
            "content": entry.text or None,
            "tool_calls": [
                {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in entry.tool_calls
            ],
        }
    return {"role": entry.role, "content": entry.text}
