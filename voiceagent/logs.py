"""Structured log lines: JSON for machines, aligned text for people; what callers said or dialled only on request.

Lines of a call's tasks name call, trace, turn and state by themselves (``calls.logcontext``), libraries' lines too; a
worker's lines name the call that their task is about (``voiceagent.celery``). Words and numbers of callers go only into
fields whose key has a part ``pii`` (``pii_text``, ``caller_pii``): they are dropped unless ``LOG_PII`` is on. Event names
are constants, such as ``call.started``; ``docs/logs.md`` lists them.
"""

from __future__ import annotations

import logging.config
import sys
import traceback
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from calls.logcontext import place
from voiceagent.hiding import hider

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger


#: Errors within errors that a line tells of.
_MOST_ERRORS = 8


def name_call(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which call a line belongs to, where it does not say so itself."""
    at = place.get()
    if at is not None and event.setdefault("call_sid", at.call_sid) == at.call_sid:
        event.setdefault("trace_id", at.trace_id)
        if at.state:
            event.setdefault("turn_id", at.turn_id)
            event.setdefault("state", at.state)
    return event


def drop_pii(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out every field, at any depth, whose key has a part ``pii`` between underscores, and Django's ``request``.

    That one is shown with its query, and the query of a webhook sent as GET is the caller's number.
    """
    return {key: _without_pii(value) for key, value in event.items() if not _is_pii(key)}


def leave_out_texts(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """In lines about a call, tell an exception by its kind and its stack: its text may hold what was said."""
    error = event.get("exc_info")
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if "call_sid" in event and isinstance(error, BaseException):
        del event["exc_info"]
        event["exception"] = "\n".join(_kinds_and_stacks(error))
    return event


def _kinds_and_stacks(error: BaseException, depth: int = 0) -> Iterator[str]:
    """The lines of a traceback without texts: what led to the error first, then itself, then what a group holds."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and depth < _MOST_ERRORS:
        yield from _kinds_and_stacks(before, depth + 1)
    yield from (line.rstrip("\n") for line in traceback.format_tb(error.__traceback__))
    yield f"{type(error).__module__}.{type(error).__qualname__} (its text may be personal: LOG_PII)"
    if isinstance(error, BaseExceptionGroup) and depth < _MOST_ERRORS:
        for inner in error.exceptions[:_MOST_ERRORS]:
            yield from _kinds_and_stacks(inner, depth + 1)


def _without_pii(fields: Any) -> Any:
    if isinstance(fields, dict):
        return {key: _without_pii(value) for key, value in fields.items() if not _is_pii(key)}
    if isinstance(fields, list):
        return [_without_pii(item) for item in fields]
    return fields


def _is_pii(key: object) -> bool:
    return key == "request" or "pii" in str(key).lower().split("_")


def _to_json(value: Any, default: Any, **_: Any) -> str:
    return orjson.dumps(value, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    name_call,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
)


def formatter(style: str, with_pii: bool, secrets: Collection[str] = ()) -> structlog.stdlib.ProcessorFormatter:
    """The formatter of all lines, ours and the libraries'. ``style`` is ``json`` or ``console``; ``secrets`` are not shown."""
    hidden = hider(secrets)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(_SHARED),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if with_pii else [drop_pii, leave_out_texts]),
            *_renderers(style),
            lambda _logger, _method, line: hidden(str(line)),
        ],
    )


def _renderers(style: str) -> list[Processor]:
    if style == "console":
        return [_stack_as_text, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_to_json)]


def _stack_as_text(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """A ``stack`` of several places, which the renderer would join to text as it is."""
    if isinstance(line.get("stack"), list):
        line["stack"] = "\n".join(map(str, line["stack"]))
    return line


def logging_conf(level: str, style: str, with_pii: bool, secrets: Collection[str] = ()) -> dict[str, Any]:
    """The value of Django's ``LOGGING``: everything goes to standard output, once."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": formatter, "style": style, "with_pii": with_pii, "secrets": secrets}},
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "structured"}
        },
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # Django brings handlers of its own for these; uvicorn would too.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "uvicorn": {"handlers": [], "level": level, "propagate": True},
            # Libraries that put addresses with queries or whole payloads into their lines.
            "mcp": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "cartesia": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "openai": {"level": "WARNING"},
            "websockets": {"level": "WARNING"},
            "twilio": {"level": "WARNING"},
            # What does not arrive is counted and told once, by voiceagent.telemetry.
            "opentelemetry": {"level": "WARNING"},
            "opentelemetry.exporter": {"level": "CRITICAL"},
        },
    }


#: One list for good: a logger that was used before holds it, whatever is configured later.
_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


def configure(conf: dict[str, Any]) -> None:
    """Set up the standard library's logging and structlog; Django calls this as its ``LOGGING_CONFIG``."""
    logging.config.dictConfig(conf)
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
