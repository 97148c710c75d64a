"""The language model against the stand-in, over both interfaces, with the official SDK."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from calls.conf import OpenAIConf
from calls.core.commands import AskModel, Message, ToolCallItem
from calls.core.events import ModelAttemptFailed, ModelFailed, ModelFinished, ModelText, ModelToolCall
from calls.core.policy import ToolSpec
from calls.providers.openai.model import FIRST, OpenAIModel
from voiceagent.sandbox.control import ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from calls.core.policy import AgentProfile
    from tests.contract.conftest import Heard
    from voiceagent.sandbox.control import Handle, SandboxServer

APIS = ("chat", "responses")
ASK = AskModel(turn=3, epoch=4, messages=(Message("developer", "You answer."), Message("user", "Hello")))
BOOK = ToolSpec(
    name="book_table",
    description="Books a table.",
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {"people": {"type": "integer"}},
            "required": ["people"],
            "additionalProperties": False,
        }
    ),
)


@asynccontextmanager
async def model_at(url: str, key: str, **options: Any) -> AsyncIterator[OpenAIModel]:
    made = OpenAIModel(OpenAIConf(api_key=key, base_url=url, **options))
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture(params=APIS)
async def model(request: pytest.FixtureRequest, sandbox: SandboxServer, vendor: Handle) -> AsyncIterator[OpenAIModel]:
    vendor.configure(llm={"first_token_ms": 1, "inter_token_ms": 0})
    async with model_at(sandbox.openai_url, vendor.key, api=request.param, read_timeout_ms=500) as made:
        yield made


def said(heard: Heard) -> str:
    return "".join(event.text for event in heard.of(ModelText))


def failed(kind: str, *, retryable: bool = True) -> ModelFailed:
    return ModelFailed(turn=3, epoch=4, kind=kind, retryable=retryable, endpoint=FIRST)


def with_deadline(agent: AgentProfile, first_token_ms: int) -> AgentProfile:
    return replace(agent, policy=replace(agent.policy, first_token_ms=first_token_ms))


# --- answers ----------------------------------------------------------------------------------------------------


async def test_a_reply_comes_in_pieces_and_is_accounted_for(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("Good morning, what can I do for you?")
    await model.reply(agent, ASK, heard.post)
    assert said(heard) == "Good morning, what can I do for you?"
    assert len(heard.of(ModelText)) > 3
    assert all((event.turn, event.epoch) == (3, 4) for event in heard.of(ModelText))
    (finished,) = heard.of(ModelFinished)
    assert heard.events[-1] is finished
    assert finished.reason == "stop"
    assert finished.input_tokens > 0
    assert finished.output_tokens > 0


async def test_function_calls_are_put_together(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard, no_blocking: None
) -> None:
    vendor.reply(
        "One moment.",
        tool_calls=[ToolCall(name="book_table", arguments={"people": 2}), ToolCall(name="book_table", arguments={})],
    )
    await model.reply(replace(agent, tools=(BOOK,)), ASK, heard.post)
    assert said(heard) == "One moment."
    calls = heard.of(ModelToolCall)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("book_table", {"people": 2}),
        ("book_table", {}),
    ]
    assert len({call.call_id for call in calls}) == 2
    assert heard.of(ModelFinished)[0].reason == "tool_calls"


async def test_a_history_with_answered_calls_is_accepted(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("It is booked.")
    history = (
        *ASK.messages,
        Message("assistant", "One moment.", (ToolCallItem("call_1", "book_table", '{"people":2}'),)),
        Message("tool", '{"ok":true}', call_id="call_1"),
    )
    await model.reply(replace(agent, tools=(BOOK,)), replace(ASK, messages=history), heard.post)
    assert said(heard) == "It is booked."


@pytest.mark.parametrize("name", ["gpt-6-luna", "gpt-5-nano", "gpt-4o", "gpt-5.4-mini"])
async def test_each_supported_model_takes_what_it_is_sent_with_functions(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard, name: str
) -> None:
    vendor.reply("Yes.")
    await model.reply(replace(agent, model=name, tools=(BOOK,)), ASK, heard.post)
    assert said(heard) == "Yes."
    assert vendor.journal("openai")[-1]["body"]["model"] == name


async def test_arguments_that_are_no_json_are_passed_on_as_they_are(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply(tool_calls=[ToolCall(name="book_table", arguments='{"people": ')])
    await model.reply(replace(agent, tools=(BOOK,)), ASK, heard.post)
    assert [call.arguments for call in heard.of(ModelToolCall)] == ['{"people": ']


async def test_an_answer_cut_short_by_its_limit_says_so(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("One two three four five six seven eight nine ten eleven twelve thirteen.")
    vendor.fault("openai", "length")
    await model.reply(agent, ASK, heard.post)
    assert said(heard)
    assert heard.of(ModelFinished)[0].reason == "length"


async def test_an_empty_answer_is_an_end_and_no_failure(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai", "empty")
    await model.reply(agent, ASK, heard.post)
    assert [type(event) for event in heard.events] == [ModelFinished]
    assert heard.of(ModelFinished)[0].reason == "length"


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "requests"),
    [
        ({"status": 401}, "auth", 1),
        ({"status": 403}, "forbidden", 1),
        ({"status": 404, "code": "model_not_found"}, "not_found", 1),
        ({"status": 400}, "bad_request", 1),
        ({"status": 429, "code": "insufficient_quota"}, "quota", 1),
        ({"status": 429, "code": "rate_limit_exceeded"}, "rate_limited", 3),
        ({"status": 429, "code": "rate_limit_exceeded", "retry_after_ms": 20_000}, "rate_limited", 1),
        ({"status": 500}, "server", 3),
        ({"status": 503}, "overloaded", 3),
    ],
)
async def test_refusals_have_their_kind_and_only_some_are_tried_again(
    model: OpenAIModel,
    vendor: Handle,
    agent: AgentProfile,
    heard: Heard,
    options: dict[str, Any],
    kind: str,
    requests: int,
) -> None:
    vendor.fault("openai", "refuse", times=0, **options)
    await model.reply(agent, ASK, heard.post)
    assert heard.events[-1] == failed(kind, retryable=kind not in NOT_RETRYABLE)
    assert [event.kind for event in heard.of(ModelAttemptFailed)] == [kind] * (requests - 1)
    assert len(vendor.journal("openai")) == requests
    assert {entry.get("retry") for entry in vendor.journal("openai")} <= {"0", None}


NOT_RETRYABLE = ("auth", "forbidden", "not_found", "bad_request", "quota")


async def test_one_refusal_is_not_noticed(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai", "refuse", status=500)
    vendor.reply("Here I am.")
    await model.reply(agent, ASK, heard.post)
    assert said(heard) == "Here I am."
    assert heard.of(ModelFailed) == []


async def test_an_answer_that_never_begins_has_a_deadline(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai", "hang", times=0)
    began = time.monotonic()
    await model.reply(with_deadline(agent, 200), ASK, heard.post)
    assert 0.15 < time.monotonic() - began < 0.6
    assert heard.events == [failed("timeout")]
    assert len(vendor.journal("openai")) == 1


async def test_headers_without_a_first_word_meet_the_same_deadline(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("Too late.")
    vendor.fault("openai", "stall")
    await model.reply(with_deadline(agent, 200), ASK, heard.post)
    assert heard.events == [failed("timeout")]


async def test_an_answer_that_stops_in_its_middle_hangs(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("This answer will stop somewhere.")
    vendor.fault("openai", "stall", after=3)
    await model.reply(agent, ASK, heard.post)
    assert "This answer will stop somewhere.".startswith(said(heard))
    assert heard.events[-1] == failed("hung")


@pytest.mark.parametrize(
    ("fault", "kind"), [("cut", "cut"), ("close", "cut"), ("garbage", "garbage"), ("error", "server")]
)
async def test_an_answer_broken_after_it_began_is_not_asked_for_again(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard, fault: Any, kind: str
) -> None:
    vendor.reply("This answer will break somewhere.")
    vendor.fault("openai", fault, after=3)
    await model.reply(agent, ASK, heard.post)
    assert said(heard)
    assert heard.events[-1] == failed(kind)
    assert heard.of(ModelFinished) == []
    assert len(vendor.journal("openai")) == 1


async def test_a_connection_cut_before_the_first_word_is_asked_for_again(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai", "cut")
    vendor.reply("Never said.")
    vendor.reply("Said.")
    await model.reply(agent, ASK, heard.post)
    assert said(heard) == "Said."
    assert len(vendor.journal("openai")) == 2


async def test_a_complete_chat_answer_without_its_closing_line_is_complete(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai.chat", "no_done")
    vendor.reply("All of it.")
    async with model_at(sandbox.openai_url, vendor.key, api="chat") as model:
        await model.reply(agent, ASK, heard.post)
    assert said(heard) == "All of it."
    assert heard.of(ModelFinished)[0].reason == "stop"


async def test_a_response_without_its_closing_event_was_cut(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai.responses", "no_done")
    vendor.reply("All of it.")
    async with model_at(sandbox.openai_url, vendor.key, api="responses") as model:
        await model.reply(agent, ASK, heard.post)
    assert said(heard) == "All of it."
    assert heard.events[-1] == failed("cut")


async def test_a_response_that_failed_is_a_failure(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai.responses", "failed", after=2, code="rate_limit_exceeded")
    vendor.reply("This answer will fail somewhere.")
    async with model_at(sandbox.openai_url, vendor.key, api="responses") as model:
        await model.reply(agent, ASK, heard.post)
    assert heard.events[-1] == failed("rate_limited")


async def test_nobody_listening_is_refused(agent: AgentProfile, heard: Heard, unused_tcp_port: int) -> None:
    async with model_at(f"http://127.0.0.1:{unused_tcp_port}/v1", "k") as model:
        await model.reply(agent, ASK, heard.post)
        await model.warm()
    assert heard.events[-1] == failed("refused")


# --- cancelling and connections ---------------------------------------------------------------------------------


async def test_cancelling_closes_the_connection_and_posts_nothing_more(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.configure(llm={"inter_token_ms": 20})
    vendor.reply("A long answer that nobody wants to hear to its end, as it goes on and on and on.")
    task = asyncio.create_task(model.reply(agent, ASK, heard.post))
    await heard.wait_for(ModelText, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = len(heard.events)
    (entry,) = await vendor.wait_for("openai", outcome="disconnected")
    assert len(heard.events) == told
    assert entry["tokens_sent"] < 12
    assert heard.of(ModelFailed) == heard.of(ModelFinished) == []


async def test_cancelling_before_the_first_word_is_no_failure(
    model: OpenAIModel, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.fault("openai", "hang")
    task = asyncio.create_task(model.reply(agent, ASK, heard.post))
    await vendor.wait_for("openai")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard.events == []


async def test_warming_opens_one_connection_and_the_answer_takes_it(agent: AgentProfile, heard: Heard) -> None:
    requests: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        requests.append((request.path, request.transport))
        if request.method == "GET":
            return web.json_response({"id": "x", "object": "model", "created": 0, "owned_by": "x"})
        return await events(delta("stop", content="Hello."), "[DONE]")(request)

    async with server(answer) as url, model_at(url, "k", model="x") as model:
        await model.warm()
        await model.warm()
        assert [path for path, _ in requests] == ["/v1/models/x"]
        await model.reply(agent, ASK, heard.post)
        await model.warm()
    assert [path for path, _ in requests] == ["/v1/models/x", "/v1/chat/completions"]
    assert requests[0][1] is requests[1][1]


async def test_both_models_are_kept_warm() -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.json_response({"id": "x", "object": "model", "created": 0, "owned_by": "x"})

    async with server(answer) as url:
        second = OpenAIConf(api_key="k", base_url=url, model="y")
        async with model_at(url, "k", model="x", fallback=second) as model:
            await model.warm()
            await model.warm()
    assert sorted(paths) == ["/v1/models/x", "/v1/models/y"]


async def test_a_model_that_thinks_has_its_functions_over_responses(
    sandbox: SandboxServer, vendor: Handle, agent: AgentProfile, heard: Heard
) -> None:
    vendor.reply("Yes.")
    async with model_at(sandbox.openai_url, vendor.key, api="chat", model="gpt-6-astra") as model:
        await model.reply(replace(agent, tools=(BOOK,)), ASK, heard.post)
    assert len(vendor.journal("openai.responses")) == 1


async def test_an_interface_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="api must be one of chat, responses, not 'grpc'"):
        OpenAIModel(OpenAIConf(api_key="k", api="grpc"))


# --- servers that write exactly what the test says --------------------------------------------------------------


@asynccontextmanager
async def server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def events(*data: Any, content_type: str = "text/event-stream") -> Callable[[web.Request], Awaitable[web.Response]]:
    text = "".join(f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n" for item in data)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return answer


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }


async def ask(answer: Any, agent: AgentProfile, heard: Heard, **options: Any) -> None:
    async with server(answer) as url, model_at(url, "k", **options) as model:
        await model.reply(replace(agent, model="llama3.3:70b"), ASK, heard.post)


async def test_another_server_without_usage_indexes_or_ids(agent: AgentProfile, heard: Heard) -> None:
    def call(name: str, call_id: str | None) -> dict[str, Any]:
        return {"id": call_id, "function": {"name": name, "arguments": "{}"}}

    await ask(
        events(
            delta(content="Hi"),
            delta(tool_calls=[call("a", "1")]),
            delta("stop", tool_calls=[call("b", "2")]),
            "[DONE]",
        ),
        agent,
        heard,
    )
    assert [(event.name, event.call_id) for event in heard.of(ModelToolCall)] == [("a", "1"), ("b", "2")]
    assert heard.of(ModelFinished) == [ModelFinished(turn=3, epoch=4, reason="tool_calls", model="llama3.3:70b")]


async def test_a_function_call_without_an_id_gets_one(agent: AgentProfile, heard: Heard) -> None:
    call = {"index": 0, "function": {"name": "a", "arguments": ""}}
    await ask(events(delta(tool_calls=[call]), delta("tool_calls")), agent, heard)
    assert heard.of(ModelToolCall) == [ModelToolCall(turn=3, epoch=4, call_id="call_3_4_0", name="a", arguments="{}")]


async def test_a_refusal_is_something_to_say(agent: AgentProfile, heard: Heard) -> None:
    await ask(events(delta(refusal="I cannot."), delta("content_filter")), agent, heard)
    assert said(heard) == "I cannot."
    assert heard.of(ModelFinished)[0].reason == "content_filter"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (events(delta(content="Half a")), "cut"),
        (events(delta(content="Half a"), "[DONE]"), "cut"),
        (events(), "cut"),
        (events("<html>"), "garbage"),
        (events("[1]"), "garbage"),
        (events("7"), "garbage"),
        (events({"choices": 5}), "garbage"),
        (events({"choices": [{}]}), "garbage"),
        (events(delta(content=["x"])), "garbage"),
        (events(delta(tool_calls=[{"index": 0, "function": {"name": 5}}]), delta("tool_calls")), "garbage"),
        (events({"error": {"message": "no", "code": "insufficient_quota"}}), "quota"),
        (events(content_type="text/html"), "garbage"),
    ],
)
async def test_a_chat_answer_that_is_none(answer: Any, kind: str, agent: AgentProfile, heard: Heard) -> None:
    await ask(answer, agent, heard)
    assert [event for event in heard.events if not isinstance(event, ModelText | ModelAttemptFailed)] == [
        failed(kind, retryable=kind != "quota")
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (events({"type": "response.created"}), "cut"),
        (events({"type": "response.output_text.delta", "delta": 5}), "garbage"),
        (events({"type": "response.output_item.done"}), "garbage"),
        (events({"type": "response.completed"}), "garbage"),
        (events({"type": "error", "code": "server_error", "message": "no", "param": None}), "server"),
        (events({"type": "response.failed", "response": {"error": {"code": "invalid_prompt"}}}), "bad_request"),
        (events({"type": "response.failed", "response": {"error": None}}), "server"),
        (events(content_type="application/json"), "garbage"),
    ],
)
async def test_a_response_that_is_none(answer: Any, kind: str, agent: AgentProfile, heard: Heard) -> None:
    await ask(answer, agent, heard, api="responses")
    assert [event for event in heard.events if not isinstance(event, ModelAttemptFailed)] == [
        failed(kind, retryable=kind != "bad_request")
    ]


@pytest.mark.parametrize(
    ("why", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "stop")]
)
async def test_an_incomplete_response_says_why(why: str, reason: str, agent: AgentProfile, heard: Heard) -> None:
    incomplete = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": why}, "usage": None}}
    await ask(
        events({"type": "response.output_text.delta", "delta": "Well"}, incomplete), agent, heard, api="responses"
    )
    assert heard.events == [
        ModelText(turn=3, epoch=4, text="Well"),
        ModelFinished(turn=3, epoch=4, reason=reason, model="llama3.3:70b"),
    ]


async def test_a_complete_answer_whose_accounting_never_comes_is_complete(agent: AgentProfile, heard: Heard) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {json.dumps(delta('stop', content='Done.'))}\n\n".encode())
        await asyncio.sleep(30)
        return response

    await ask(answer, agent, heard)
    assert heard.events == [
        ModelText(turn=3, epoch=4, text="Done."),
        ModelFinished(turn=3, epoch=4, reason="stop", model="llama3.3:70b"),
    ]


async def test_heartbeats_do_not_keep_a_silent_answer_alive(agent: AgentProfile, heard: Heard) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b": still here\n\n")
            await asyncio.sleep(0.02)

    await ask(answer, with_deadline(agent, 150), heard)
    assert heard.events == [failed("timeout")]
