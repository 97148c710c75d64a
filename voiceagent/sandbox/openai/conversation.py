"""One shape for the requests of both APIs, and the choice of the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from voiceagent.sandbox.openai import structured

if TYPE_CHECKING:
    from voiceagent.sandbox.script import LlmSettings, Reply

_TOKEN = re.compile(r"\s*[^\s]{1,7}|\s+$")


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; ``arguments`` is JSON text (or what a script wants it to be)."""

    name: str
    arguments: str
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the history. ``role`` is ``user``, ``assistant`` or ``tool`` (then ``call_id`` says of which call)."""

    role: str
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> dict[str, Any]:
        """The schema of each argument by name."""
        found = self.parameters.get("properties")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that a model knows when it is asked. ``schema`` is what its answer must keep to, ``None`` for free text."""

    instructions: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: dict[str, Any] | None = None

    @property
    def last_user_text(self) -> str:
        """What the user said last."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says and calls. ``refusal``: it does not want to answer, and says so instead."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    first_token_ms: float | None = None
    inter_token_ms: float | None = None
    refusal: str = ""


def tokens(text: str) -> list[str]:
    """A text in pieces of at most seven letters; joined they are the text again."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Roughly what a tokeniser would count."""
    return (len(text) + 3) // 4


def choose(conversation: Conversation, settings: LlmSettings) -> Answer:
    """The scripted reply that is due, else the first rule that fits, else what the persona says.

    An answer in a fixed form has scripts of its own, and is else the least that keeps to it: whoever reads calls for
    facts must not take the replies of a call. An answer that the request has begun already is gone on with, but for a scripted
    reply, which says what it says.
    """
    from voiceagent.sandbox.persona import respond

    if conversation.schema is not None:
        if settings.structured:
            return _scripted(settings.structured.pop(0))
        return Answer(structured.least(conversation.schema))
    if settings.replies:
        return _scripted(settings.replies.pop(0))
    if begun := _begun(conversation):
        asked = replace(conversation, turns=conversation.turns[:-1])
        answer = _ruled(asked, settings) or respond(asked)
        if (rest := _rest(answer.text, begun)) is not None:
            return replace(answer, text=rest)
    return _ruled(conversation, settings) or respond(conversation)


def _ruled(conversation: Conversation, settings: LlmSettings) -> Answer | None:
    said = conversation.last_user_text.lower()
    after_tool = bool(conversation.turns) and conversation.turns[-1].role == "tool"
    for rule in settings.rules:
        if rule.contains.lower() in said and rule.after_tool in (None, after_tool):
            return _scripted(rule.reply)
    return None


def _begun(conversation: Conversation) -> str:
    """The beginning of the answer that is asked for, where the request ends with one."""
    last = conversation.turns[-1] if conversation.turns else Turn("user")
    return last.text if last.role == "assistant" and not last.calls else ""


def _rest(text: str, begun: str) -> str | None:
    """What of ``text`` follows what was begun of it, whatever was said before; ``None`` where nothing of it was."""
    for end in range(len(text), 0, -1):
        if begun.endswith(text[:end].rstrip()):
            return text[end:].lstrip()
    return None


def _scripted(reply: Reply) -> Answer:
    calls = tuple(
        Call(call.name, call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode())
        for call in reply.tool_calls
    )
    return Answer(reply.text, calls, reply.finish_reason, reply.first_token_ms, reply.inter_token_ms, reply.refusal)
