"""The table of models, and the requests that follow from it."""

from datetime import date
from typing import Any

import pytest

from calls.core.commands import AskModel, Message, ToolCallItem
from calls.core.policy import AgentProfile, ToolSpec
from calls.providers.errors import VendorError
from calls.providers.openai import chat, responses
from calls.providers.openai.models import GENERIC, MODELS, ModelTraits, shutdown_warning, traits_of
from calls.providers.openai.stream import Request

TOOL = ToolSpec(
    name="book_table",
    description="Books a table.",
    parameters='{"type":"object","properties":{"people":{"type":"integer"}},"required":["people"]}',
)
HISTORY = (
    Message("developer", "You answer the phone."),
    Message("user", "A table for two."),
    Message("assistant", "", (ToolCallItem("call_a", "book_table", '{"people":2}'),)),
    Message("tool", '{"ok":true}', call_id="call_a"),
    Message("assistant", "Done.", (ToolCallItem("call_b", "hang_up", "{}"),)),
    Message("tool", "{}", call_id="call_b"),
    Message("developer", "Be brief."),
    Message("user", "Thanks."),
)


def request(model: str, tools: tuple[ToolSpec, ...] = (TOOL,), messages: tuple[Message, ...] = HISTORY) -> Request:
    agent = AgentProfile(name="Luigi", version=3, instructions="", greeting="", voice="v", tools=tools)
    return Request(agent, AskModel(turn=1, epoch=2, messages=messages), model, traits_of(model), 300)


@pytest.mark.parametrize(
    ("model", "today", "warning"),
    [
        ("gpt-5-nano", date(2026, 11, 23), "2026-12-11, in 18 days"),
        ("gpt-5-nano-2025-08-07", date(2026, 12, 11), "in 0 days"),
        ("gpt-4o", date(2026, 11, 23), "2027-01-14, in 52 days"),
        ("gpt-4o", date(2027, 1, 15), "was shut down on 2027-01-14"),
    ],
)
def test_a_model_about_to_end_is_warned_of(model: str, today: date, warning: str) -> None:
    said = shutdown_warning(model, today)
    assert said is not None
    assert warning in said
    assert model in said


@pytest.mark.parametrize("model", ["gpt-6-luna", "llama3.3:70b"])
def test_a_model_that_stays_is_not(model: str) -> None:
    assert shutdown_warning(model, date(2030, 1, 1)) is None


def test_what_each_of_the_supported_models_is_sent() -> None:
    def shown(model: str) -> tuple[Any, ...]:
        made = chat.body(request(model))
        return made.get("reasoning_effort"), made.get("verbosity"), made["messages"][0]["role"]

    assert shown("gpt-6-luna") == ("none", "low", "developer")
    assert shown("gpt-5-nano") == ("minimal", "low", "developer")
    assert shown("gpt-4o") == (None, None, "system")
    assert shown("gpt-4o-2024-08-06") == (None, None, "system")


def test_another_servers_model_gets_only_what_all_know() -> None:
    assert traits_of("llama3.3:70b") is GENERIC
    assert set(chat.body(request("llama3.3:70b", tools=()))) == {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
    }
    assert chat.body(request("llama3.3:70b"))["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", MODELS)
def test_functions_on_chat_are_only_asked_of_models_that_allow_it(model: str) -> None:
    traits = MODELS[model]
    thinks_by_default = "none" in traits.efforts
    assert not (thinks_by_default and traits.chat_functions) or traits.effort == "none"
    assert ("none" in traits.efforts and "minimal" in traits.efforts) is False


def test_an_effort_that_the_model_does_not_take_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="'minimal' is not one of"):
        ModelTraits(efforts=("none",), effort="minimal")


def test_a_chat_request() -> None:
    assert chat.body(request("gpt-6-luna")) == {
        "model": "gpt-6-luna",
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "reasoning_effort": "none",
        "verbosity": "low",
        "max_completion_tokens": 300,
        "store": False,
        "prompt_cache_key": "Luigi-v3",
        "parallel_tool_calls": False,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "book_table",
                    "description": "Books a table.",
                    "parameters": {
                        "type": "object",
                        "properties": {"people": {"type": "integer"}},
                        "required": ["people"],
                    },
                },
            }
        ],
        "messages": [
            {"role": "developer", "content": "You answer the phone."},
            {"role": "user", "content": "A table for two."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "book_table", "arguments": '{"people":2}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_a", "content": '{"ok":true}'},
            {
                "role": "assistant",
                "content": "Done.",
                "tool_calls": [
                    {"id": "call_b", "type": "function", "function": {"name": "hang_up", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_b", "content": "{}"},
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Thanks."},
        ],
    }


def test_a_responses_request_is_flat_and_apart() -> None:
    made = responses.body(request("gpt-6-luna"))
    assert made["instructions"] == "You answer the phone."
    assert made["tools"][0]["name"] == "book_table"
    assert made["tools"][0]["strict"] is None
    assert (made["store"], made["reasoning"], made["text"]) == (False, {"effort": "none"}, {"verbosity": "low"})
    assert made["max_output_tokens"] == 300
    assert made["input"] == [
        {"role": "user", "content": "A table for two."},
        {"type": "function_call", "call_id": "call_a", "name": "book_table", "arguments": '{"people":2}'},
        {"type": "function_call_output", "call_id": "call_a", "output": '{"ok":true}'},
        {"role": "assistant", "content": "Done."},
        {"type": "function_call", "call_id": "call_b", "name": "hang_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_b", "output": "{}"},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Thanks."},
    ]


def test_what_is_data_for_the_model_is_no_part_of_its_instructions() -> None:
    messages = (Message("developer", "Be brief."), Message("developer", "Data: {}"), Message("user", "Hi"))
    made = responses.body(request("gpt-6-luna", messages=messages))
    assert made["instructions"] == "Be brief."
    assert [item["content"] for item in made["input"]] == ["Data: {}", "Hi"]
    assert [message["content"] for message in chat.body(request("gpt-6-luna", messages=messages))["messages"]] == [
        "Be brief.",
        "Data: {}",
        "Hi",
    ]


def test_a_responses_request_to_another_server() -> None:
    made = responses.body(request("qwen3", tools=(), messages=(Message("user", "Hi"),)))
    assert set(made) == {"model", "input", "stream", "store", "max_output_tokens"}


@pytest.mark.parametrize("parameters", ["{", "[]"])
def test_parameters_that_are_no_schema_are_our_mistake(parameters: str) -> None:
    with pytest.raises(VendorError) as raised:
        chat.body(request("gpt-4o", tools=(ToolSpec("x", "y", parameters),)))
    assert raised.value.kind == "bad_request"
    assert not raised.value.retryable


def test_half_characters_of_an_answer_are_left_out() -> None:
    asked = request("gpt-4o")
    assert asked.text("Gr\u00fc\ud83d\u00dfe").text == "Gr\u00fc\u00dfe"
    call = asked.tool_call("a\udc00", "book\ud800", '{"who": "\ud83dB"}', 0)
    assert (call.call_id, call.name, call.arguments) == ("a", "book", '{"who": "B"}')
