"""``POST /v1/chat/completions``, streaming and not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.openai import checks, structured, wire
from voiceagent.sandbox.openai.conversation import Answer, Call, Conversation, Tool, Turn, choose, count_tokens, tokens
from voiceagent.sandbox.openai.wire import ApiError, EventStream, identifier

if TYPE_CHECKING:
    from voiceagent.sandbox.script import Fault
    from voiceagent.sandbox.state import Entry, Namespace

ENDPOINT = "openai.chat"


def _name(body: dict[str, Any]) -> str:
    return structured.ENDPOINT if structured.is_asked(body) else ENDPOINT


def text_of(content: Any) -> str:
    """The text of a message's content, given as a string or as parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise ApiError(400, "Invalid type for message content.", code="invalid_type", param="messages")


def _calls_of(message: dict[str, Any], at: int) -> tuple[Call, ...]:
    calls = message.get("tool_calls") or []
    try:
        return tuple(Call(call["function"]["name"], call["function"]["arguments"], call["id"]) for call in calls)
    except (KeyError, TypeError):
        raise ApiError(400, "Invalid tool call.", param=f"messages[{at}].tool_calls") from None


def read_messages(messages: Any) -> tuple[str, tuple[Turn, ...]]:
    """Instructions and turns. Raises :class:`ApiError` unless every function call is answered exactly once."""
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "Invalid 'messages': empty array.", code="empty_array", param="messages")
    instructions: list[str] = []
    turns: list[Turn] = []
    waiting: dict[str, int] = {}
    for at, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "tool":
            call_id = message.get("tool_call_id")
            if waiting.pop(str(call_id), None) is None:
                raise ApiError(
                    400, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    param=f"messages.[{at}].role",
                )  # fmt: skip
            turns.append(Turn("tool", text_of(message.get("content")), call_id=str(call_id)))
            continue
        _refuse_unanswered(waiting)
        if role in ("system", "developer"):
            instructions.append(text_of(message.get("content")))
        elif role == "user":
            turns.append(Turn("user", text_of(message.get("content"))))
        elif role == "assistant":
            calls = _calls_of(message, at)
            if message.get("content") is None and not calls:
                raise ApiError(
                    400, "Invalid value for 'content': expected a string, got null.", param=f"messages.[{at}].content"
                )
            waiting = {call.call_id: at for call in calls}
            turns.append(Turn("assistant", text_of(message.get("content")), calls))
        else:
            raise ApiError(400, f"Invalid value: '{role}'.", code="invalid_value", param=f"messages[{at}].role")
    _refuse_unanswered(waiting)
    return "\n".join(instructions), tuple(turns)


def _refuse_unanswered(waiting: dict[str, int]) -> None:
    if waiting:
        raise ApiError(
            400, "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}",
            param=f"messages.[{next(iter(waiting.values()))}].role",
        )  # fmt: skip


def read_tools(tools: Any) -> tuple[Tool, ...]:
    """Functions in the nested shape of this API. Raises :class:`ApiError`."""
    if tools is None:
        return ()
    if not isinstance(tools, list) or not tools:
        raise ApiError(400, "Invalid 'tools': empty array.", code="empty_array", param="tools")
    found: list[Tool] = []
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise ApiError(400, "Invalid value: expected 'function'.", code="invalid_value", param=f"tools[{at}].type")
        definition = checks.check_function(tool.get("function"), f"tools[{at}].function")
        found.append(Tool(definition["name"], definition.get("description") or "", definition.get("parameters") or {}))
    return tuple(found)


def _read(body: dict[str, Any], namespace: Namespace) -> tuple[Conversation, int | None]:
    model = checks.model_of(body, namespace.settings.llm.models)
    effort = checks.effort_of(model, body.get("reasoning_effort"), "reasoning_effort")
    checks.check_verbosity(model, body.get("verbosity"), "verbosity")
    checks.check_sampling(model, effort, body)
    checks.check_length("safety_identifier", body.get("safety_identifier"), 128)
    if body.get("max_tokens") is not None and model.efforts:
        raise ApiError(
            400, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            code="unsupported_parameter", param="max_tokens",
        )  # fmt: skip
    if body.get("stream_options") is not None and not body.get("stream"):
        raise ApiError(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    instructions, turns = read_messages(body.get("messages"))
    tools = read_tools(body.get("tools"))
    if tools and model.functions_need_none and effort != "none":
        raise ApiError(
            400, f"Function tools with reasoning_effort are not supported for {model.name} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.", param="reasoning_effort",
        )  # fmt: skip
    limit = checks.check_limit(body, "max_completion_tokens") or checks.check_limit(body, "max_tokens")
    schema = structured.schema_of(body.get("response_format"), "response_format", "json_schema")
    return Conversation(instructions, turns, tools, str(body.get("tool_choice", "auto")), schema), limit


async def completions(request: web.Request) -> web.StreamResponse:
    """The endpoint."""
    try:
        namespace, body, entry, (conversation, limit) = await wire.opened(request, _name, _read)
    except ApiError as error:
        return error.response()
    fault = namespace.strike(_name(body), mishaps.STREAMING)
    answer = apply_answer_fault(choose(conversation, namespace.settings.llm), fault, limit)
    completion = _Completion(body, conversation, answer)
    if not body.get("stream"):
        return await _whole(namespace, completion, entry)
    stream = EventStream(request, fault)
    try:
        await _stream(stream, namespace, completion, entry)
        entry["outcome"] = "answered"
        return await stream.close()
    except mishaps.CutError:
        entry["outcome"] = "cut"
        return stream.response
    except (ConnectionError, GeneratorExit):
        entry["outcome"] = "disconnected"
        return stream.response
    except BaseException:
        entry["outcome"] = "disconnected"
        raise
    finally:
        entry["ended_ms"] = namespace.journal.elapsed_ms()


def apply_answer_fault(answer: Answer, fault: Fault | None, limit: int | None) -> Answer:
    """What a limit of tokens or a fault makes of an answer."""
    kind = fault.kind if fault is not None else None
    if kind == "empty":
        return Answer(finish_reason="length")
    if kind == "length":
        limit = min(limit or 8, 8)
    if kind == "malformed_arguments":
        calls = tuple(Call(call.name, call.arguments[:-1] + ',"', call.call_id) for call in answer.calls)
        return Answer(answer.text, calls or (Call("book_table", '{"name": "Smi'),), answer.finish_reason)
    pieces = tokens(answer.text)
    if limit is not None and len(pieces) > limit:
        return Answer("".join(pieces[:limit]), (), "length", answer.first_token_ms, answer.inter_token_ms)
    return answer


class _Completion:
    """The constant parts of one answer's JSON."""

    def __init__(self, body: dict[str, Any], conversation: Conversation, answer: Answer) -> None:
        self.answer = answer
        self.calls = [(identifier("call_")[:29], call) for call in answer.calls]
        self.finish = answer.finish_reason or ("tool_calls" if answer.calls else "stop")
        self._head = {"id": identifier("chatcmpl-"), "created": int(time.time()), "model": body["model"]}
        options = body.get("stream_options") or {}
        self.include_usage = bool(options.get("include_usage"))
        self._obfuscate = options.get("include_obfuscation") is not False
        self._prompt_tokens = count_tokens(conversation.instructions) + sum(
            count_tokens(turn.text) + 4 for turn in conversation.turns
        )

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        """One chunk of the stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._object("chat.completion.chunk", [choice], None)
        if self._obfuscate and (delta.get("content") or delta.get("tool_calls")):
            chunk["obfuscation"] = "x" * (1 + len(str(delta)) % 7)
        return chunk

    def usage_chunk(self) -> dict[str, Any]:
        """The last chunk, without choices."""
        return self._object("chat.completion.chunk", [], self._usage())

    def whole(self) -> dict[str, Any]:
        """The answer without streaming."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.answer.text or None,
            "refusal": self.answer.refusal or None,
            "annotations": [],
        }
        if self.calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call_id, call in self.calls
            ]
        elif self.answer.text == "" and not self.answer.refusal:
            message["content"] = ""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return self._object("chat.completion", [choice], self._usage())

    def _object(self, kind: str, choices: list[Any], usage: dict[str, Any] | None) -> dict[str, Any]:
        return {
            **self._head, "object": kind, "service_tier": "default", "system_fingerprint": None,
            "choices": choices, "usage": usage,
        }  # fmt: skip

    def _usage(self) -> dict[str, Any]:
        written = count_tokens(self.answer.text + "".join(call.arguments for _, call in self.calls))
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self._prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        }  # fmt: skip


async def _whole(namespace: Namespace, completion: _Completion, entry: Entry) -> web.Response:
    import asyncio

    await asyncio.sleep(namespace.settings.llm.first_token_ms / 1000)
    entry["outcome"] = "answered"
    entry["text"] = completion.answer.text
    return web.json_response(completion.whole(), headers=wire.answer_headers())


async def _stream(stream: EventStream, namespace: Namespace, completion: _Completion, entry: Entry) -> None:
    answer, settings = completion.answer, namespace.settings.llm
    first_ms = settings.first_token_ms if answer.first_token_ms is None else answer.first_token_ms
    gap_ms = settings.inter_token_ms if answer.inter_token_ms is None else answer.inter_token_ms
    await stream.open()
    await stream.wait(first_ms)
    role = {"role": "assistant", "content": "" if answer.text or not completion.calls else None, "refusal": None}
    await stream.send(completion.chunk(role))

    async def unit(delta: dict[str, Any]) -> None:
        await stream.before_unit()
        if stream.units:
            await stream.wait(gap_ms)
        await stream.send(completion.chunk(delta))
        stream.units += 1
        entry["tokens_sent"] += 1
        entry.setdefault("first_token_ms", namespace.journal.elapsed_ms())

    try:
        for token in tokens(answer.text):
            await unit({"content": token})
        for token in tokens(answer.refusal):
            await unit({"refusal": token})
        for index, (call_id, call) in enumerate(completion.calls):
            head = {"index": index, "id": call_id, "type": "function", "function": {"name": call.name, "arguments": ""}}
            await stream.send(completion.chunk({"tool_calls": [head]}))
            for piece in pieces_of(call.arguments):
                await unit({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        await stream.before_unit()
    except wire.StreamFailedError:
        await stream.send(wire.failure(stream.fault).body())
        return
    entry["text"] = answer.text
    await stream.send(completion.chunk({}, completion.finish))
    if completion.include_usage:
        await stream.send(completion.usage_chunk())
    if stream.fault is None or stream.fault.kind != "no_done":
        await stream.raw(b"data: [DONE]\n\n")


def pieces_of(arguments: str) -> list[str]:
    """Arguments in pieces of nine characters, none of them whole JSON."""
    return [arguments[start : start + 9] for start in range(0, len(arguments), 9)]
