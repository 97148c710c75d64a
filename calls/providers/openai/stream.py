"""What both ways of asking share: the shape of a strategy and of what it gives."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from calls.core.events import ModelFinished, ModelText, ModelToolCall
from calls.providers.errors import VendorError
from calls.providers.openai.errors import VENDOR

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai import AsyncOpenAI

    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile, ToolSpec
    from calls.providers.openai.models import ModelTraits

#: One step of an answer. None is progress without anything to tell: a piece of a function call, a thought.
Piece = ModelText | ModelToolCall | ModelFinished | None

#: After the answer's end, how long its accounting may still take.
TAIL_S: Final = 0.5


class Strategy(Protocol):
    """One of the vendor's interfaces."""

    def stream(self, client: AsyncOpenAI, request: Request) -> AsyncGenerator[Piece]:
        """The answer, ending with ``ModelFinished``. Raises ``VendorError`` or one of the SDK's exceptions."""


class Request:
    """One question with everything that decides how it is put."""

    __slots__ = ("agent", "ask", "max_tokens", "model", "traits")

    def __init__(self, agent: AgentProfile, ask: AskModel, model: str, traits: ModelTraits, max_tokens: int) -> None:
        self.agent = agent
        self.ask = ask
        self.model = model
        self.traits = traits
        self.max_tokens = max_tokens

    @property
    def cache_key(self) -> str:
        """Steers questions with the same beginning to the same machine: one key per version of an agent."""
        return f"{self.agent.name}-v{self.agent.version}"[:64]

    def text(self, text: Any) -> ModelText:
        """A piece of the reply. Raises ``TypeError`` if it is no text: the SDK does not validate."""
        if not isinstance(text, str):
            raise TypeError(f"text of type {type(text).__name__}")
        return ModelText(turn=self.ask.turn, epoch=self.ask.epoch, text=_whole(text))

    def tool_call(self, call_id: Any, name: Any, arguments: Any, number: int) -> ModelToolCall:
        """A complete function call; one without an id gets one from its ``number``. Raises ``TypeError``."""
        if not isinstance(name, str) or not isinstance(arguments or "", str):
            raise TypeError("a function call without a name or with arguments that are not text")
        turn, epoch = self.ask.turn, self.ask.epoch
        return ModelToolCall(
            turn=turn,
            epoch=epoch,
            call_id=_whole(str(call_id or f"call_{turn}_{epoch}_{number}")),
            name=_whole(name),
            arguments=_whole(arguments or "{}"),
        )

    def finished(self, reason: str, usage: tuple[int, int, int] = (0, 0, 0)) -> ModelFinished:
        """The end. ``usage``: input, output and cached input tokens."""
        return ModelFinished(
            turn=self.ask.turn,
            epoch=self.ask.epoch,
            reason=reason,
            input_tokens=usage[0],
            output_tokens=usage[1],
            cached_tokens=usage[2],
        )


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can name and nothing can carry: not the voice, not the next request."""
    return text if text.isascii() else text.encode(errors="ignore").decode()


def count(value: Any) -> int:
    """A token count of an answer, 0 where it is absent: the SDK does not validate what it hands over."""
    return value if isinstance(value, int) else 0


def schema(tool: ToolSpec) -> dict[str, Any]:
    """A function's parameters as the vendor takes them. Raises ``VendorError`` (``bad_request``) if they are not JSON."""
    try:
        return _parsed(tool.parameters)
    except ValueError as error:
        raise VendorError("bad_request", VENDOR, detail=f"parameters of {tool.name}: {error}") from error


@lru_cache(maxsize=512)
def _parsed(text: str) -> dict[str, Any]:
    parsed: Any = json.loads(text or "{}")
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed
