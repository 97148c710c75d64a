"""The Responses interface: the vendor's recommended one, and the only one for functions on some models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from calls.core.events import ModelFinished, ModelToolCall
from calls.providers.errors import VendorError
from calls.providers.openai.errors import VENDOR, from_code
from calls.providers.openai.stream import Piece, Request, count, schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai import AsyncOpenAI, AsyncStream
    from openai.types.responses import ResponseStreamEvent

    from calls.core.commands import Message

_INCOMPLETE_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})


class ResponsesStrategy:
    """Streaming Responses; nothing is stored at the vendor."""

    async def stream(self, client: AsyncOpenAI, request: Request) -> AsyncGenerator[Piece]:
        """See ``Strategy``. Failures within the stream are events there, exceptions here."""
        calls = 0
        begun = False
        created = cast("AsyncStream[ResponseStreamEvent]", await client.responses.create(**body(request)))
        async with created as events:
            async for event in events:
                begun = True
                for piece in _read(event, request, calls):
                    yield piece
                    if isinstance(piece, ModelFinished):
                        return
                    calls += isinstance(piece, ModelToolCall)
        streamed = begun or "event-stream" in created.response.headers.get("content-type", "")
        raise VendorError("cut" if streamed else "garbage", VENDOR, detail="the answer ended without an end")


def _read(event: Any, request: Request, calls: int) -> list[Piece]:
    """What an event tells. Raises ``VendorError`` for a failure, or if it is not an event."""
    try:
        return _pieces(event, request, calls)
    except (AttributeError, TypeError) as error:
        # The SDK builds its models from anything without validating them.
        raise VendorError("garbage", VENDOR, detail=f"not an event: {error}") from error


def _pieces(event: Any, request: Request, calls: int) -> list[Piece]:
    kind = event.type
    if kind in _TEXTS:
        return [request.text(event.delta)] if event.delta else []
    if kind == "response.output_item.done" and event.item.type == "function_call":
        item = event.item
        return [request.tool_call(item.call_id, item.name, item.arguments, calls)]
    if kind == "response.completed":
        return [request.finished("tool_calls" if calls else "stop", _usage(event.response.usage))]
    if kind == "response.incomplete":
        why = getattr(event.response.incomplete_details, "reason", "")
        return [request.finished(_INCOMPLETE_REASONS.get(why, "stop"), _usage(event.response.usage))]
    if kind == "response.failed":
        error = event.response.error
        raise from_code(getattr(error, "code", None), getattr(error, "message", ""))
    if kind == "error":
        raise from_code(event.code, event.message)
    return [None] if kind == "response.function_call_arguments.delta" else []


def _usage(usage: Any) -> tuple[int, int, int]:
    details = getattr(usage, "input_tokens_details", None)
    return (
        count(getattr(usage, "input_tokens", 0)),
        count(getattr(usage, "output_tokens", 0)),
        count(getattr(details, "cached_tokens", 0)),
    )


def body(request: Request) -> dict[str, Any]:
    """The request's parameters, only those that the model knows."""
    traits, agent = request.traits, request.agent
    instructions, rest = _split(request.ask.messages)
    made: dict[str, Any] = {
        "model": request.model,
        "input": [item for entry in rest for item in items(entry, traits.role)],
        "stream": True,
        "store": False,
        "max_output_tokens": request.max_tokens,
    }
    if instructions:
        made["instructions"] = instructions
    if traits.vendor_parameters:
        made |= {"stream_options": {"include_obfuscation": False}, "prompt_cache_key": request.cache_key}
    if traits.effort:
        made["reasoning"] = {"effort": traits.effort}
    if traits.verbosity:
        made["text"] = {"verbosity": "low"}
    if agent.tools:
        made["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": schema(tool),
                "strict": None,
            }
            for tool in agent.tools
        ]
        made["parallel_tool_calls"] = False
    return made


def _split(messages: tuple[Message, ...]) -> tuple[str, tuple[Message, ...]]:
    """The instructions at the head, and the conversation; notes and data for the model in it stay where they stand."""
    head = 1 if messages and messages[0].role == "developer" else 0
    return "".join(entry.text for entry in messages[:head]), messages[head:]


def items(entry: Message, role: str) -> list[dict[str, Any]]:
    """One entry of the history as input items: text and function calls are separate ones here."""
    if entry.role == "tool":
        return [{"type": "function_call_output", "call_id": entry.call_id, "output": entry.text}]
    made: list[dict[str, Any]] = []
    if entry.text or not entry.tool_calls:
        made.append({"role": role if entry.role == "developer" else entry.role, "content": entry.text})
    made += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in entry.tool_calls
    ]
    return made
