"""Answers in a fixed form, by the vendor's SDK: what is refused, what comes back, and whose script it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai as sdk
import pytest
from pydantic import BaseModel

from memory.core.distil import SCHEMA
from memory.core.pairs import PAIR_SCHEMA
from voiceagent.sandbox.openai import structured

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from voiceagent.sandbox.control import Handle

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


class Guest(BaseModel):
    """Somebody."""

    name: str
    seats: int
    tags: list[str]


class Party(BaseModel):
    """Nested, by reference."""

    host: Guest
    kind: str | None
    is_large: bool


def form(schema: dict[str, Any], **more: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "facts", "schema": schema, "strict": True, **more}}


async def ask(openai: AsyncOpenAI, response_format: Any) -> Any:
    return await openai.chat.completions.create(model="gpt-6-luna", messages=HELLO, response_format=response_format)


async def test_the_sdks_own_helpers_get_what_they_ask_for(openai: AsyncOpenAI) -> None:
    chat = await openai.chat.completions.parse(model="gpt-6-luna", messages=HELLO, response_format=Party)
    told = await openai.responses.parse(model="gpt-6-luna", input="Hello", text_format=Party)

    least = Party(host=Guest(name="", seats=0, tags=[]), kind="", is_large=False)
    assert chat.choices[0].message.parsed == told.output_parsed == least


@pytest.mark.parametrize("schema", [SCHEMA, PAIR_SCHEMA])
async def test_our_own_schemas_are_taken(openai: AsyncOpenAI, schema: dict[str, Any]) -> None:
    answer = await ask(openai, form(schema))
    assert answer.choices[0].message.content in ('{"facts":[]}', '{"verdicts":[]}')


async def test_a_script_of_its_own_and_none_of_a_calls(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.reply("Certainly, for four people.")
    handle.configure(llm={"structured": [{"text": '{"facts":[1]}'}, {"refusal": "I cannot help with that."}]})

    first, second = await ask(openai, form(SCHEMA)), await ask(openai, form(SCHEMA))

    assert first.choices[0].message.content == '{"facts":[1]}'
    assert (second.choices[0].message.content, second.choices[0].message.refusal) == (None, "I cannot help with that.")
    spoken = await openai.chat.completions.create(model="gpt-6-luna", messages=HELLO)
    assert spoken.choices[0].message.content == "Certainly, for four people."
    assert [len(handle.journal(name)) for name in ("openai.structured", "openai.chat")] == [2, 1]


async def test_faults_are_its_own(openai: AsyncOpenAI, handle: Handle) -> None:
    handle.fault("openai.chat", "refuse", status=400, times=0)
    await ask(openai, form(SCHEMA))
    handle.fault("openai.structured", "refuse", status=400)
    with pytest.raises(sdk.BadRequestError):
        await ask(openai, form(SCHEMA))


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
MISSING = {"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "yaml"}, "Supported values are"),
        ({"type": "json_schema"}, "Missing required parameter: 'response_format.json_schema'"),
        (form(SCHEMA, name="no spaces"), "Invalid 'response_format.json_schema.name'"),
        (form({"type": "array"}), "must be a JSON Schema of 'type"),
        (form(OPEN), "'additionalProperties' is required"),
        (form(MISSING), "Missing 'a'"),
        (form({**MISSING, "required": ["a"], "properties": {"a": {"type": "array", "items": OPEN}}}), "In context=('properties', 'a', 'items')"),
    ],
)  # fmt: skip
async def test_what_the_service_refuses(openai: AsyncOpenAI, given: Any, said: str) -> None:
    with pytest.raises(sdk.BadRequestError, match=r"."):
        try:
            await ask(openai, given)
        except sdk.BadRequestError as error:
            assert said in str(error)
            raise


async def test_without_the_strict_form_an_open_schema_is_taken(openai: AsyncOpenAI) -> None:
    answer = await ask(openai, form(OPEN, strict=False))
    assert answer.choices[0].message.content == '{"a":""}'


def test_the_least_answer_has_what_must_be_there() -> None:
    schema = {
        "type": "object",
        "properties": {
            "one": {"enum": ["first", "second"]},
            "two": {"type": ["integer", "null"], "minimum": 3},
            "three": {"type": "array", "minItems": 1, "items": {"const": "x"}},
            "four": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
    }
    assert structured.least(schema) == '{"one":"first","two":3,"three":["x"],"four":null}'
    assert structured.least(
        {"type": "object", "properties": {"self": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    )
