"""The OpenAI stand-in, driven by the vendor's SDK: what it accepts, refuses, and how it fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai as sdk
import pytest

from voiceagent.sandbox.control import Reply, Rule, SandboxClient, ToolCall

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from voiceagent.sandbox.control import Handle, SandboxServer

SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "integer"}},
    "required": ["people"],
    "additionalProperties": False,
}
NESTED: list[Any] = [{"type": "function", "function": {"name": "book_table", "strict": True, "parameters": SCHEMA}}]
FLAT: list[Any] = [{"type": "function", "name": "book_table", "strict": True, "parameters": SCHEMA}]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
CHAT: dict[str, Any] = {"model": "gpt-6-luna", "messages": HELLO, "reasoning_effort": "none"}


async def chunks(client: AsyncOpenAI, **options: Any) -> list[Any]:
    async with await client.chat.completions.create(**{**CHAT, "stream": True, **options}) as stream:
        return [chunk async for chunk in stream]


def text_of(found: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)


async def test_a_stream_has_the_shape_of_the_real_one(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("Certainly, for four people.")
    found = await chunks(openai, stream_options={"include_usage": True, "include_obfuscation": False})
    assert text_of(found) == "Certainly, for four people."
    assert found[0].choices[0].delta.role == "assistant"
    assert found[-2].choices[0].finish_reason == "stop"
    assert found[-1].choices == []
    assert found[-1].usage.total_tokens > 0
    assert len({chunk.id for chunk in found}) == 1
    assert all(chunk.usage is None for chunk in found[:-1])
    assert found[1].obfuscation is None
    plain = await chunks(openai)
    assert plain[1].obfuscation
    assert not any(chunk.usage for chunk in plain)


async def test_function_calls_come_in_pieces_by_index(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("One moment.", tool_calls=[ToolCall(name="book_table", arguments={"people": 4}), ToolCall(name="end")])
    async with openai.chat.completions.stream(**CHAT, tools=NESTED) as stream:
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert final.choices[0].finish_reason == "tool_calls"
    assert message.content == "One moment."
    assert message.tool_calls is not None
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("book_table", '{"people":4}'),
        ("end", "{}"),
    ]
    whole = await openai.chat.completions.create(**CHAT)
    assert whole.choices[0].message.content
    assert whole.usage is not None


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"tools": NESTED, "reasoning_effort": sdk.omit}, sdk.BadRequestError, "reasoning_effort"),
        ({"reasoning_effort": "minimal"}, sdk.BadRequestError, "none"),
        ({"model": "gpt-5-nano"}, sdk.BadRequestError, "minimal"),
        ({"model": "gpt-4o"}, sdk.BadRequestError, "reasoning_effort"),
        ({"model": "gpt-4o", "reasoning_effort": sdk.omit, "verbosity": "low"}, sdk.BadRequestError, "verbosity"),
        ({"reasoning_effort": "low", "temperature": 0.3}, sdk.BadRequestError, "temperature"),
        ({"model": "gpt-9"}, sdk.NotFoundError, "gpt-9"),
        ({"tools": FLAT}, sdk.BadRequestError, "function"),
        ({"messages": []}, sdk.BadRequestError, "messages"),
        ({"max_tokens": 20}, sdk.BadRequestError, "max_completion_tokens"),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, *HELLO]},
            sdk.BadRequestError, "tool_call_id",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, sdk.BadRequestError, "tool"),
    ],
)  # fmt: skip
async def test_what_the_service_refuses(
    openai: AsyncOpenAI, change: dict[str, Any], error: type[sdk.APIStatusError], word: str
) -> None:
    with pytest.raises(error) as refusal:
        await openai.chat.completions.create(**{**CHAT, **change})
    assert word in refusal.value.message
    assert refusal.value.request_id is not None


async def test_models_that_are_about_to_go_work_with_their_own_parameters(openai: AsyncOpenAI) -> None:
    for model, options in (("gpt-5-nano", {"reasoning_effort": "minimal"}), ("gpt-4o", {"reasoning_effort": sdk.omit})):
        answer = await openai.chat.completions.create(**{**CHAT, "model": model, "tools": NESTED, **options})
        assert answer.model == model
    dates = {model.id: model.model_dump().get("shutdown_date") async for model in openai.models.list()}
    assert (dates["gpt-5-nano"], dates["gpt-4o"], dates["gpt-6-luna"]) == ("2026-12-11", "2027-01-14", None)


async def test_closing_a_stream_is_noticed_and_tokens_are_counted(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("word " * 200, inter_token_ms=5)
    seen = 0
    async with await openai.chat.completions.create(**CHAT, stream=True) as stream:
        async for _ in stream:
            seen += 1
            if seen == 10:
                break
    entry = (await handle.wait_for("openai.chat", outcome="disconnected"))[0]
    assert 9 <= entry["tokens_sent"] < 60


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"status": 401}, sdk.AuthenticationError),
        ({"status": 403}, sdk.PermissionDeniedError),
        ({"status": 429, "code": "insufficient_quota"}, sdk.RateLimitError),
        ({"status": 429, "retry_after_ms": 1500}, sdk.RateLimitError),
        ({"status": 503}, sdk.InternalServerError),
    ],
)
async def test_refusals(
    openai: AsyncOpenAI, handle: Handle, options: dict[str, Any], error: type[sdk.APIStatusError]
) -> None:
    handle.fault("openai.chat", "refuse", **options)
    with pytest.raises(error) as refusal:
        await openai.chat.completions.create(**CHAT)
    if "code" in options:
        assert refusal.value.code == options["code"]
    if "retry_after_ms" in options:
        assert refusal.value.response.headers["retry-after-ms"] == "1500"
    assert (await openai.chat.completions.create(**CHAT)).choices


async def test_failures_in_the_middle_of_a_stream(openai: AsyncOpenAI, handle: Handle) -> None:
    def next_fault(kind: Any, **options: Any) -> None:
        handle.reply("one two three four five six")
        handle.fault("openai.chat", kind, **options)

    next_fault("cut", after=3)
    with pytest.raises(sdk.APIConnectionError):
        await chunks(openai)
    next_fault("error", after=2)
    with pytest.raises(sdk.APIError) as failure:
        await chunks(openai)
    assert failure.value.code == "server_error"
    next_fault("stall", after=2)
    with pytest.raises(sdk.APITimeoutError):
        await chunks(openai, timeout=0.3)
    next_fault("hang")
    with pytest.raises(sdk.APITimeoutError):
        await chunks(openai, timeout=0.3)
    next_fault("close", after=2)
    short = await chunks(openai)
    assert text_of(short) == "one two"
    assert short[-1].choices[0].finish_reason is None
    handle.configure(llm={"replies": []})
    next_fault("no_done")
    assert (await chunks(openai))[-1].choices[0].finish_reason == "stop"
    next_fault("empty")
    empty = await chunks(openai)
    assert (text_of(empty), empty[-1].choices[0].finish_reason) == ("", "length")
    next_fault("garbage", after=1)
    with pytest.raises(ValueError, match=r"."):
        await chunks(openai)


async def test_malformed_arguments(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply(tool_calls=[ToolCall(name="book_table", arguments={"people": 4})])
    handle.fault("openai.chat", "malformed_arguments")
    found = await chunks(openai, tools=NESTED)
    pieces = [call.function.arguments for c in found if c.choices for call in c.choices[0].delta.tool_calls or []]
    assert "".join(pieces) == '{"people":4,"'


async def test_responses_are_accepted_by_the_strict_helper(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("Sure thing.", tool_calls=[ToolCall(name="book_table", arguments={"people": 2})])
    events: list[Any] = []
    async with openai.responses.stream(model="gpt-6-luna", input="Hi", instructions="Be kind.", tools=FLAT) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "Sure thing."
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.usage is not None
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)
    call = final.output[1]
    assert call.type == "function_call"
    history: list[Any] = [
        *HELLO,
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": '{"ok":true}'},
    ]
    after = await openai.responses.create(model="gpt-6-luna", input=history, tools=FLAT, store=False)
    assert after.status == "completed"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"tools": NESTED}, "name"),
        ({"input": [*HELLO, {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}]}, "output"),
        ({"reasoning": {"effort": "minimal"}}, "none"),
        ({"extra_body": {"messages": HELLO}}, "messages"),
    ],
)
async def test_what_responses_refuse(openai: AsyncOpenAI, options: dict[str, Any], word: str) -> None:
    with pytest.raises(sdk.BadRequestError, match=word):
        await openai.responses.create(**{"model": "gpt-6-luna", "input": "Hi", **options})


async def test_both_endpoints_journal_what_they_refuse(openai: AsyncOpenAI, handle: Handle) -> None:
    asks: dict[str, Any] = {
        "openai.chat": lambda **more: openai.chat.completions.create(**{**CHAT, **more}),
        "openai.responses": lambda **more: openai.responses.create(**{"model": "gpt-6-luna", "input": "Hi", **more}),
    }
    for endpoint, ask in asks.items():
        with pytest.raises(sdk.NotFoundError):
            await ask(model="no-such-model")
        handle.fault(endpoint, "refuse", status=503)
        with pytest.raises(sdk.InternalServerError):
            await ask()
        await ask()
        journal = handle.journal(endpoint)
        assert [entry["outcome"] for entry in journal] == ["refused", "refused", "answered"]
        assert [entry["retry"] for entry in journal] == ["0", "0", "0"]
        assert journal[0]["body"]["model"] == "no-such-model"


@pytest.mark.parametrize(
    ("kind", "last"), [("failed", "response.failed"), ("error", "error"), ("length", "response.incomplete")]
)
async def test_responses_fail_by_events(openai: AsyncOpenAI, handle: Handle, kind: Any, last: str) -> None:
    handle.reply("one two three four five six seven eight nine ten eleven twelve")
    handle.fault("openai.responses", kind, after=3)
    async with await openai.responses.create(model="gpt-6-luna", input="Hi", stream=True) as stream:
        seen = [event.type async for event in stream]
    assert seen[-1] == last


async def test_embeddings_are_deterministic_and_near_for_near_texts(openai: AsyncOpenAI) -> None:
    texts = ["a table by the window", "the table at the window", "my dog is ill"]
    answer = await openai.embeddings.create(model="text-embedding-3-small", input=texts, dimensions=256)
    plain = await openai.embeddings.create(
        model="text-embedding-3-small", input=texts, dimensions=256, encoding_format="float"
    )
    first, second, third = (item.embedding for item in answer.data)
    assert first == pytest.approx(plain.data[0].embedding)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-4)
    near = sum(x * y for x, y in zip(first, second, strict=True))
    far = sum(x * y for x, y in zip(first, third, strict=True))
    assert near > 0.4 > far
    with pytest.raises(sdk.BadRequestError):
        await openai.embeddings.create(model="text-embedding-3-small", input="")
    with pytest.raises(sdk.BadRequestError):
        await openai.embeddings.create(model="text-embedding-ada-002", input="a", dimensions=3)


async def test_namespaces_do_not_disturb_each_other_and_the_http_api_does_the_same(
    sandbox: SandboxServer, openai: AsyncOpenAI, handle: Handle
) -> None:
    import aiohttp

    other = sandbox.handle()
    other.fault("openai", "refuse", status=500, times=0)
    assert (await openai.chat.completions.create(**CHAT)).choices
    async with aiohttp.ClientSession() as session:
        control = SandboxClient(sandbox.url, handle.key, session)
        await control.configure(llm={"rules": [{"contains": "hello", "reply": {"text": "Ahoy."}}]})
        await control.fault("openai.chat", "refuse", status=503, skip=1)
        answer = await openai.chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "Ahoy."
        with pytest.raises(sdk.InternalServerError):
            await openai.chat.completions.create(**CHAT)
        journal = await control.journal("openai.chat")
        assert [entry["outcome"] for entry in journal] == ["answered", "answered", "refused"]
        assert journal[0]["body"]["messages"] == HELLO
        with pytest.raises(ValueError, match="nonsense"):
            await control.configure(nonsense={})
        await control.reset()
        assert await control.journal() == []


async def test_a_rule_may_wait_for_the_result_of_a_function(openai: AsyncOpenAI, handle: Handle) -> None:
    rules = [
        {"contains": "hello", "reply": {"tool_calls": [{"name": "book_table"}]}, "after_tool": False},
        {"contains": "hello", "reply": {"text": "It is booked."}, "after_tool": True},
    ]
    handle.configure(llm={"rules": rules})
    asked = (await openai.chat.completions.create(**CHAT)).choices[0].message
    assert asked.tool_calls is not None
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "{}"}
    messages = [*HELLO, asked.model_dump(include={"role", "content", "tool_calls"}), result]
    told = await openai.chat.completions.create(**{**CHAT, "messages": messages})
    assert told.choices[0].message.content == "It is booked."


async def test_delays_are_kept(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("one two three four", first_token_ms=120, inter_token_ms=30)
    begun = asyncio.get_running_loop().time()
    clock = asyncio.get_running_loop().time
    async with await openai.chat.completions.create(**CHAT, stream=True) as stream:
        times = [clock() - begun async for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert times[0] >= 0.12
    assert times[-1] - times[0] >= 0.08


# --- an answer that was begun -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("We have pasta,", "we have fish."),
        ("One moment, please. We have", "pasta, we have fish."),
        ("We have pasta, we have fish.", ""),
        ("Nothing of it", "We have pasta, we have fish."),
    ],
)
async def test_an_answer_that_the_request_has_begun_is_gone_on_with(
    openai: AsyncOpenAI, handle: Handle, begun: str, rest: str
) -> None:
    rule = Rule(contains="on the menu", reply=Reply(text="We have pasta, we have fish."))
    handle.configure(llm={"rules": [rule.model_dump()]})
    asked = [
        {"role": "system", "content": "You are a waiter."},
        {"role": "user", "content": "What is on the menu?"},
        {"role": "assistant", "content": begun},
        {"role": "system", "content": "(Go on.)"},
    ]
    answer = await openai.chat.completions.create(model="gpt-6-luna", messages=asked)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == rest
