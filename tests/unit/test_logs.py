"""Log lines: what is in them, and what must not be."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from voiceagent.logs import configure, logging_conf

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    from django.conf import settings

    handlers = list(logging.getLogger().handlers)
    yield
    structlog.contextvars.clear_contextvars()
    configure(settings.LOGGING)
    logging.getLogger().handlers[:] = handlers


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_a_line_is_json_with_the_call_and_the_turn(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", "json", with_pii=False))
    structlog.contextvars.bind_contextvars(call_sid="CA1", turn_id=3, state="SPEAKING")
    structlog.get_logger("calls.actor").info("call.barged_in", heard_words=4)
    line = json.loads(last_line(capsys))
    assert {
        name: line[name] for name in ("event", "call_sid", "turn_id", "state", "heard_words", "level", "logger")
    } == {
        "event": "call.barged_in",
        "call_sid": "CA1",
        "turn_id": 3,
        "state": "SPEAKING",
        "heard_words": 4,
        "level": "info",
        "logger": "calls.actor",
    }
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "console"])
def test_words_and_numbers_of_callers_are_dropped(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", style, with_pii=False))
    log = structlog.get_logger("calls")
    log.info(
        "turn.heard", pii_text="table for two", caller_pii="+15550001", seen={"pii_name": "Ann", "n": [{"pii": 1}]}
    )
    logging.getLogger("calls.old").info("turn.heard", extra={"pii_text": "table for two"})
    shown = capsys.readouterr().out
    assert shown.count("turn.heard") == 2
    assert not any(word in shown for word in ("table", "+1555", "Ann", "pii"))


def test_they_are_kept_when_somebody_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", "json", with_pii=True))
    structlog.get_logger("calls").info("turn.heard", pii_text="table for two")
    assert json.loads(last_line(capsys))["pii_text"] == "table for two"


def test_a_key_that_only_contains_the_letters_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", "json", with_pii=False))
    structlog.get_logger("calls").info("a.b", piiano=1)
    assert json.loads(last_line(capsys))["piiano"] == 1


def test_libraries_lines_have_the_same_form_and_an_exception_stays_on_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(logging_conf("INFO", "json", with_pii=False))
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("django.request").exception("Internal %s", "error")
    line = json.loads(last_line(capsys))
    assert line["event"] == "Internal error"
    assert "RuntimeError: broken" in line["exception"]


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("WARNING", "json", with_pii=False))
    structlog.get_logger("calls").info("quiet")
    logging.getLogger("httpx").info("GET with an address")
    assert capsys.readouterr().out == ""
