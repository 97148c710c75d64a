"""``POST /v1/responses``, streaming and not."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.openai import checks, structured, wire
from voiceagent.sandbox.openai.chat import apply_answer_fault, pieces_of, text_of
from voiceagent.sandbox.openai.conversation import Answer, Call, Conversation, Tool, Turn, choose, count_tokens, tokens
from voiceagent.sandbox.openai.wire import ApiError, EventStream, identifier

if TYPE_CHECKING:
    from voiceagent.sandbox.state import Entry, Namespace

ENDPOINT = "openai.responses"


def _name(body: dict[str, Any]) -> str:
    return structured.ENDPOINT if structured.is_asked(body) else ENDPOINT


_IGNORED_ITEMS = ("reasoning", "configuration_update", "item_reference")


def read_input(given: Any) -> tuple[list[str], tuple[Turn, ...]]:
    """Instructions and turns of the ``input``. Raises :class:`ApiError` for a call without its output."""
    if isinstance(given, str):
        return [], (Turn("user", given),)
    if not isinstance(given, list):
        raise ApiError(400, "Missing required parameter: 'input'.", code="missing_required_parameter", param="input")
    instructions: list[str] = []
    turns: list[Turn] = []
    waiting: dict[str, None] = {}
    for at, item in enumerate(given):
        if not isinstance(item, dict):
            raise ApiError(400, "Invalid type for input item.", code="invalid_type", param=f"input[{at}]")
        kind = item.get("type", "message")
        if kind == "function_call":
            waiting[str(item.get("call_id"))] = None
            call = Call(str(item.get("name")), str(item.get("arguments")), str(item.get("call_id")))
            turns.append(Turn("assistant", calls=(call,)))
        elif kind == "function_call_output":
            call_id = str(item.get("call_id"))
            if call_id not in waiting:
                raise ApiError(
                    400, f"No tool call found for function call output with call_id {call_id}.", param="input"
                )
            del waiting[call_id]
            turns.append(Turn("tool", text_of(item.get("output")), call_id=call_id))
        elif kind == "message":
            _read_message(item, at, instructions, turns)
        elif kind not in _IGNORED_ITEMS:
            raise ApiError(400, f"Invalid value: '{kind}'.", code="invalid_value", param=f"input[{at}].type")
    if waiting:
        raise ApiError(400, f"No tool output found for function call {next(iter(waiting))}.", param="input")
    return instructions, tuple(turns)


def _read_message(item: dict[str, Any], at: int, instructions: list[str], turns: list[Turn]) -> None:
    role, text = item.get("role"), text_of(item.get("content"))
    if role in ("system", "developer"):
        instructions.append(text)
    elif role in ("user", "assistant"):
        turns.append(Turn(role, text))
    else:
        raise ApiError(400, f"Invalid value: '{role}'.", code="invalid_value", param=f"input[{at}].role")


def read_tools(tools: Any) -> tuple[Tool, ...]:
    """Functions in the flat shape of this API. Raises :class:`ApiError`."""
    found: list[Tool] = []
    for at, tool in enumerate(tools or ()):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise ApiError(400, "Invalid value for tool type.", code="invalid_value", param=f"tools[{at}].type")
        if "name" not in tool:
            raise ApiError(
                400, f"Missing required parameter: 'tools[{at}].name'.",
                code="missing_required_parameter", param=f"tools[{at}].name",
            )  # fmt: skip
        checks.check_function(tool, f"tools[{at}]")
        found.append(Tool(tool["name"], tool.get("description") or "", tool.get("parameters") or {}))
    return tuple(found)


def _read(body: dict[str, Any], namespace: Namespace) -> tuple[Conversation, int | None]:
    model = checks.model_of(body, namespace.settings.llm.models)
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    effort = checks.effort_of(model, reasoning.get("effort"), "reasoning.effort")
    checks.check_verbosity(model, text.get("verbosity"), "text.verbosity")
    checks.check_sampling(model, effort, body)
    checks.check_length("safety_identifier", body.get("safety_identifier"), 128)
    for wrong in ("messages", "max_tokens", "max_completion_tokens", "reasoning_effort", "verbosity"):
        if wrong in body:
            raise ApiError(400, f"Unknown parameter: '{wrong}'.", code="unknown_parameter", param=wrong)
    if (body.get("stream_options") or {}).get("include_usage") is not None:
        raise ApiError(
            400, "Unknown parameter: 'stream_options.include_usage'.",
            code="unknown_parameter", param="stream_options.include_usage",
        )  # fmt: skip
    more, turns = read_input(body.get("input"))
    instructions = "\n".join(filter(None, [body.get("instructions") or "", *more]))
    tools = read_tools(body.get("tools"))
    schema = structured.schema_of(text.get("format"), "text.format")
    conversation = Conversation(instructions, turns, tools, str(body.get("tool_choice", "auto")), schema)
    return conversation, checks.check_limit(body, "max_output_tokens")


class _Response:
    """The response object as it grows."""

    def __init__(self, body: dict[str, Any], conversation: Conversation) -> None:
        self.body, self._conversation = body, conversation
        self.response_id = identifier("resp_")
        self._created = int(time.time())
        self.output: list[dict[str, Any]] = []
        self.written = 0

    def json(self, status: str, error: dict[str, Any] | None = None, reason: str | None = None) -> dict[str, Any]:
        """The object; usage appears when it is over."""
        body = self.body
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": body["model"],
            "output": list(self.output),
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {"effort": (body.get("reasoning") or {}).get("effort"), "summary": None},
            "service_tier": "default",
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": {
                "format": (body.get("text") or {}).get("format") or {"type": "text"},
                "verbosity": (body.get("text") or {}).get("verbosity", "medium"),
            },
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation", "disabled"),
            "usage": None if status == "in_progress" else self._usage(),
            "metadata": body.get("metadata") or {},
        }

    def _usage(self) -> dict[str, Any]:
        read = count_tokens(self._conversation.instructions)
        read += sum(count_tokens(turn.text) + 4 for turn in self._conversation.turns)
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self.written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + self.written,
        }


def message_item(item_id: str, text: str, status: str) -> dict[str, Any]:
    """A message of the output."""
    content = (
        [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if status != "in_progress" else []
    )
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def call_item(item_id: str, call_id: str, call: Call, arguments: str, status: str) -> dict[str, Any]:
    """A function call of the output."""
    return {
        "id": item_id, "type": "function_call", "status": status,
        "call_id": call_id, "name": call.name, "arguments": arguments,
    }  # fmt: skip


class _Narrator:
    """Writes the events of one streamed response in their order."""

    def __init__(
        self, stream: EventStream, namespace: Namespace, response: _Response, answer: Answer, entry: Entry
    ) -> None:
        self._stream, self._namespace, self._response, self._answer, self._entry = (
            stream,
            namespace,
            response,
            answer,
            entry,
        )
        self._sequence = 0
        settings = namespace.settings.llm
        self._first_ms = settings.first_token_ms if answer.first_token_ms is None else answer.first_token_ms
        self._gap_ms = settings.inter_token_ms if answer.inter_token_ms is None else answer.inter_token_ms

    async def tell(self) -> None:
        """Everything from ``response.created`` to the terminal event."""
        await self._say("response.created", response=self._response.json("in_progress"))
        await self._say("response.in_progress", response=self._response.json("in_progress"))
        await self._stream.wait(self._first_ms)
        try:
            if self._answer.text or not self._answer.calls:
                await self._message()
            for call in self._answer.calls:
                await self._call(call)
            await self._stream.before_unit()
        except wire.StreamFailedError:
            await self._fail()
            return
        self._entry["text"] = self._answer.text
        await self._end()

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._stream.send({"type": kind, "sequence_number": self._sequence, **fields}, event=kind)
        self._sequence += 1

    async def _delta(self, kind: str, **fields: Any) -> None:
        await self._stream.before_unit()
        if self._stream.units:
            await self._stream.wait(self._gap_ms)
        await self._say(kind, **fields)
        self._stream.units += 1
        self._response.written += 1
        self._entry["tokens_sent"] += 1
        self._entry.setdefault("first_token_ms", self._namespace.journal.elapsed_ms())

    async def _message(self) -> None:
        item_id, index, text = identifier("msg_"), len(self._response.output), self._answer.text
        place = {"item_id": item_id, "output_index": index, "content_index": 0}
        await self._say("response.output_item.added", output_index=index, item=message_item(item_id, "", "in_progress"))
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        await self._say("response.content_part.added", **place, part=part)
        for token in tokens(text):
            await self._delta("response.output_text.delta", **place, delta=token, logprobs=[])
        await self._say("response.output_text.done", **place, text=text, logprobs=[])
        await self._say("response.content_part.done", **place, part={**part, "text": text})
        status = "incomplete" if self._answer.finish_reason == "length" else "completed"
        item = message_item(item_id, text, status)
        await self._say("response.output_item.done", output_index=index, item=item)
        self._response.output.append(item)

    async def _call(self, call: Call) -> None:
        item_id, call_id, index = identifier("fc_"), identifier("call_")[:29], len(self._response.output)
        opened = call_item(item_id, call_id, call, "", "in_progress")
        await self._say("response.output_item.added", output_index=index, item=opened)
        place = {"item_id": item_id, "output_index": index}
        for piece in pieces_of(call.arguments):
            await self._delta("response.function_call_arguments.delta", **place, delta=piece)
        await self._say("response.function_call_arguments.done", **place, arguments=call.arguments)
        item = call_item(item_id, call_id, call, call.arguments, "completed")
        await self._say("response.output_item.done", output_index=index, item=item)
        self._response.output.append(item)

    async def _fail(self) -> None:
        fault = self._stream.fault
        error = wire.failure(fault)
        if fault is not None and fault.kind == "failed":
            facts = {"code": error.code, "message": error.message}
            await self._say("response.failed", response=self._response.json("failed", error=facts))
        else:
            await self._say("error", code=error.code, message=error.message, param=None)

    async def _end(self) -> None:
        fault = self._stream.fault
        if fault is not None and fault.kind == "no_done":
            return
        if self._answer.finish_reason == "length":
            done = self._response.json("incomplete", reason="max_output_tokens")
            await self._say("response.incomplete", response=done)
        else:
            await self._say("response.completed", response=self._response.json("completed"))


async def responses(request: web.Request) -> web.StreamResponse:
    """The endpoint."""
    try:
        namespace, body, entry, (conversation, limit) = await wire.opened(request, _name, _read)
    except ApiError as error:
        return error.response()
    fault = namespace.strike(_name(body), mishaps.STREAMING)
    answer = apply_answer_fault(choose(conversation, namespace.settings.llm), fault, limit)
    response = _Response(body, conversation)
    if not body.get("stream"):
        return await _whole(namespace, response, answer, entry)
    stream = EventStream(request, fault)
    await stream.open()
    try:
        await _Narrator(stream, namespace, response, answer, entry).tell()
        entry["outcome"] = "answered"
        return await stream.close()
    except mishaps.CutError:
        entry["outcome"] = "cut"
        return stream.response
    except ConnectionError:
        entry["outcome"] = "disconnected"
        return stream.response
    except BaseException:
        entry["outcome"] = "disconnected"
        raise
    finally:
        entry["ended_ms"] = namespace.journal.elapsed_ms()


async def _whole(namespace: Namespace, response: _Response, answer: Answer, entry: Entry) -> web.Response:
    await asyncio.sleep(namespace.settings.llm.first_token_ms / 1000)
    incomplete = answer.finish_reason == "length"
    if answer.text or not answer.calls:
        status = "incomplete" if incomplete else "completed"
        response.output.append(message_item(identifier("msg_"), answer.text, status))
    for call in answer.calls:
        response.output.append(
            call_item(identifier("fc_"), identifier("call_")[:29], call, call.arguments, "completed")
        )
    response.written = count_tokens(answer.text + "".join(call.arguments for call in answer.calls))
    entry["outcome"] = "answered"
    done = response.json("incomplete", reason="max_output_tokens") if incomplete else response.json("completed")
    return web.json_response(done, headers=wire.answer_headers())
