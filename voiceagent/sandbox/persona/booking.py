"""The booking function as the request defines it: filling its arguments, reading its results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from voiceagent.sandbox.openai.conversation import Call

if TYPE_CHECKING:
    from voiceagent.sandbox.openai.conversation import Conversation, Tool, Turn
    from voiceagent.sandbox.persona.slots import Slots

_BOOKS = re.compile(r"book|reserv", re.I)
_ENDS = re.compile(r"end_?call|hang_?up", re.I)
_TRANSFERS = re.compile(r"transfer", re.I)
_MEANINGS = (
    ("party_size", re.compile(r"party|people|guests|persons|covers|seats|pax|size|count", re.I)),
    ("date", re.compile(r"date|day", re.I)),
    ("time", re.compile(r"time|hour", re.I)),
    ("name", re.compile(r"name|customer|caller", re.I)),
)
_EMPTY: dict[str, Any] = {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


def booking_tool(conversation: Conversation) -> Tool | None:
    """The function that books, if there is one."""
    return _first(conversation, _BOOKS)


def ending_tool(conversation: Conversation) -> Tool | None:
    """The function that hangs up, if there is one."""
    return _first(conversation, _ENDS)


def transfer_tool(conversation: Conversation) -> Tool | None:
    """The function that passes the caller on, if there is one."""
    return _first(conversation, _TRANSFERS)


def _first(conversation: Conversation, pattern: re.Pattern[str]) -> Tool | None:
    if conversation.tool_choice == "none":
        return None
    return next((tool for tool in conversation.tools if pattern.search(tool.name)), None)


def bare_call(tool: Tool) -> Call:
    """A call without any knowledge: required arguments get empty values of their type."""
    required = tool.parameters.get("required", [])
    given = {name: _EMPTY.get(tool.properties.get(name, {}).get("type"), "") for name in required}
    return Call(tool.name, orjson.dumps(given).decode())


def booking_call(tool: Tool, slots: Slots) -> Call:
    """The call with everything that is known, each argument under the schema's own name and type."""
    given: dict[str, Any] = {}
    for name, schema in tool.properties.items():
        meaning = next((slot for slot, pattern in _MEANINGS if pattern.search(name)), None)
        value = _value(meaning, slots)
        kind = schema.get("type") if isinstance(schema, dict) else None
        if value is None:
            if name in tool.parameters.get("required", []):
                given[name] = _EMPTY.get(str(kind), "")
            continue
        given[name] = str(value) if kind == "string" else value
    return Call(tool.name, orjson.dumps(given).decode())


def _value(meaning: str | None, slots: Slots) -> Any:
    if meaning == "date" and slots.date is not None:
        return slots.date.isoformat()
    if meaning == "time" and slots.time is not None:
        return slots.time.strftime("%H:%M")
    return getattr(slots, meaning) if meaning in ("name", "party_size") else None


def last_booking(turns: tuple[Turn, ...]) -> tuple[Call, str] | None:
    """The newest booking call of the history with its result."""
    results = {turn.call_id: turn.text for turn in turns if turn.role == "tool"}
    for turn in reversed(turns):
        for call in reversed(turn.calls):
            if _BOOKS.search(call.name) and call.call_id in results:
                return call, results[call.call_id]
    return None


def went_well(result: str) -> bool:
    """Whether a function's result says that it worked."""
    try:
        value = orjson.loads(result)
    except orjson.JSONDecodeError:
        return not re.search(r"\b(?:error|fail|not available|full)\b", result, re.I)
    if not isinstance(value, dict):
        return True
    return not (
        value.get("error")
        or value.get("ok") is False
        or value.get("status") in ("error", "failed", "full", "cancelled")
    )


def same_arguments(first: Call, second: Call) -> bool:
    """Whether two calls would do the same."""
    try:
        return bool(orjson.loads(first.arguments) == orjson.loads(second.arguments))
    except orjson.JSONDecodeError:
        return False


def first_text(call: Call) -> str:
    """The first text among a call's arguments."""
    try:
        given = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return ""
    values = given.values() if isinstance(given, dict) else ()
    return next((value for value in values if isinstance(value, str)), "")


def status_of(result: str) -> str:
    """The ``status`` that a function's result names; empty without one."""
    try:
        value = orjson.loads(result)
    except orjson.JSONDecodeError:
        return ""
    return str(value.get("status", "")) if isinstance(value, dict) else ""
