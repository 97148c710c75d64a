"""A language model asked for an answer in a fixed form, outside calls: the official SDK, strict JSON schema, retries ours.

What it is shown may hold personal data; what is raised and logged never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import openai
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from memory.guards import TurnedAway, guarded
from memory.modelspans import answered, model_span

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from memory.surroundings import Access

_TIMEOUT_S = 60.0
_ATTEMPTS = 2
_LONGEST_WAIT_S = 8.0
_MAX_OUTPUT_TOKENS = 8_000
_OPERATION = "openai.distil"
_OPEN = "open"
#: What an answer ends with that is not whole.
_ENDS = {"length": "cut", "content_filter": "filtered"}


class AskFailed(Exception):
    """No answer. ``kind`` is one word: ``refused``, ``cut``, ``filtered``, ``garbage``, ``timeout``, ``unreachable``,
    ``status_429``, or ``open`` where it was not asked; ``retryable`` says whether the same question may be answered later."""

    def __init__(self, kind: str, *, retryable: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.retryable = retryable


class Asker:
    """A model to ask; a context manager, since it holds connections."""

    def __init__(self, access: Access, timeout_s: float = _TIMEOUT_S) -> None:
        self.model = access.model
        self._client = openai.OpenAI(api_key=access.api_key, base_url=access.base_url, max_retries=0, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, system: str, user: str, *, name: str, schema: Mapping[str, Any]) -> str:
        """The JSON text of an answer; that it keeps to ``schema`` is the vendor's word, to be checked. Raises ``AskFailed``."""
        retrying = Retrying(
            retry=retry_if_exception(_worth_another),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(max=_LONGEST_WAIT_S),
            reraise=True,
        )
        return retrying(self._once, system, user, name, schema)

    def _once(self, system: str, user: str, name: str, schema: Mapping[str, Any]) -> str:
        with model_span("chat", self.model, asked_for=name) as span:
            answer = self._answer(system, user, name, schema)
            answered(span, answer)
            return _text_of(answer)

    def _answer(self, system: str, user: str, name: str, schema: Mapping[str, Any]) -> Any:
        try:
            with guarded(_OPERATION):
                return self._client.chat.completions.create(
                    model=self.model,
                    messages=[{"role": "developer", "content": system}, {"role": "user", "content": user}],
                    response_format={
                        "type": "json_schema",
                        "json_schema": {"name": name, "schema": dict(schema), "strict": True},
                    },
                    max_completion_tokens=_MAX_OUTPUT_TOKENS,
                )
        except TurnedAway:
            raise AskFailed(_OPEN, retryable=True) from None
        except openai.APIStatusError as error:
            # The vendor's message may quote what was sent: the status alone says enough.
            retryable = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise AskFailed(f"status_{error.status_code}", retryable=retryable) from None
        except openai.APITimeoutError:
            raise AskFailed("timeout", retryable=True) from None
        except openai.APIConnectionError:
            raise AskFailed("unreachable", retryable=True) from None
        except (openai.OpenAIError, ValueError):
            raise AskFailed("garbage") from None


def _worth_another(error: BaseException) -> bool:
    """Whether to ask again here and now; a vendor that is not to be asked is left to a later run."""
    return isinstance(error, AskFailed) and error.retryable and error.kind != _OPEN


def _text_of(answer: Any) -> str:
    try:
        choice = answer.choices[0]
        text, refusal, end = choice.message.content, choice.message.refusal, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        # The SDK builds its models from anything without validating them.
        raise AskFailed("garbage") from None
    if refusal:
        raise AskFailed("refused")
    if end in _ENDS:
        raise AskFailed(_ENDS[end])
    if not isinstance(text, str) or not text:
        raise AskFailed("garbage")
    return text
