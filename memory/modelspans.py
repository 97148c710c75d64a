"""A span for each request to a model outside calls, with OpenTelemetry's names; nothing where traces are off.

What was asked and answered is not in it, and of an error only its kind.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

_tracer = trace.get_tracer("voiceagent.memory")


@contextmanager
def model_span(operation: str, model: str, **facts: Any) -> Iterator[Span]:
    """The span around one request. ``operation`` is ``chat`` or ``embeddings``; ``facts`` are ours, by their last name."""
    attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: operation,
        gen_ai.GEN_AI_PROVIDER_NAME: "openai",
        gen_ai.GEN_AI_REQUEST_MODEL: model,
        **{f"voiceagent.{name}": value for name, value in facts.items()},
    }
    with _tracer.start_as_current_span(
        f"{operation} {model}", kind=SpanKind.CLIENT, attributes=attributes, record_exception=False,
        set_status_on_exception=False,
    ) as span:  # fmt: skip
        try:
            yield span
        except Exception as error:
            span.set_attribute(ERROR_TYPE, getattr(error, "kind", type(error).__name__))
            span.set_status(Status(StatusCode.ERROR))
            raise


def answered(span: Span, answer: Any) -> None:
    """Note what an answer of the SDK says of itself: tokens and how it ended, as far as it says so."""
    usage, choices = getattr(answer, "usage", None), getattr(answer, "choices", None)
    for name, key in (
        (gen_ai.GEN_AI_USAGE_INPUT_TOKENS, "prompt_tokens"),
        (gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS, "completion_tokens"),
    ):
        if isinstance(count := getattr(usage, key, None), int):
            span.set_attribute(name, count)
    if choices and isinstance(reason := getattr(choices[0], "finish_reason", None), str):
        span.set_attribute(gen_ai.GEN_AI_RESPONSE_FINISH_REASONS, (reason,))
