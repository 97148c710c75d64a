"""Log lines: what is in them, and what must not be."""

from __future__ import annotations

import contextvars
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from calls import logcontext
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
@pytest.mark.parametrize("stack", [[], ["a.py:1 outer", "b.py:2 inner"]])
def test_a_line_with_a_stack_is_written(style: str, stack: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", style, with_pii=False))
    structlog.get_logger("calls.loopwatch").warning("loop.blocked", lag_ms=57, stack=stack)
    out, err = capsys.readouterr()
    assert err == ""
    assert all(part in out for part in ("loop.blocked", *stack))


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


@pytest.mark.parametrize(("with_pii", "call_sid"), [(False, "CA1"), (True, "CA1"), (False, "")])
@pytest.mark.parametrize("style", ["json", "console"])
def test_the_text_of_an_exception_is_told_unless_it_is_about_a_call(
    style: str, with_pii: bool, call_sid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(logging_conf("INFO", style, with_pii=with_pii))
    about = {"call_sid": call_sid} if call_sid else {}
    try:
        try:
            int("my card is four two")
        except ValueError as error:
            raise ExceptionGroup("seven nine", [KeyError("one eight")]) from error
    except ExceptionGroup as error:
        structlog.get_logger("calls").exception("call.crashed", **about)
        structlog.get_logger("calls").error("call.error", exc_info=error, **about)
    shown = capsys.readouterr().out
    for kind in ("ValueError", "ExceptionGroup", "KeyError"):
        assert shown.count(kind) >= 2
    assert "test_logs.py" in shown
    is_told = with_pii or not call_sid
    texts = ("invalid literal", "seven nine (1", "KeyError: 'one eight'")
    assert [text in shown for text in texts] == [is_told] * len(texts)


def test_a_line_in_a_call_names_it_whoever_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("INFO", "json", with_pii=False))

    def written() -> None:
        at = logcontext.enter("CA7", "ab" * 16)
        logging.getLogger("a.library").warning("something")
        at.turn_id, at.state = 3, "SPEAKING"
        structlog.get_logger("calls").info("a.b")
        structlog.get_logger("calls").info("c.d", call_sid="CA8")

    contextvars.copy_context().run(written)
    structlog.get_logger("calls").info("e.f")
    library, ours, other, outside = map(json.loads, capsys.readouterr().out.splitlines())
    assert (library["call_sid"], library["trace_id"]) == ("CA7", "ab" * 16)
    assert (ours["call_sid"], ours["turn_id"], ours["state"]) == ("CA7", 3, "SPEAKING")
    assert other["call_sid"] == "CA8"
    assert "trace_id" not in other, "what is said of another call does not get this one's trace"
    assert "call_sid" not in outside


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    configure(logging_conf("WARNING", "json", with_pii=False))
    structlog.get_logger("calls").info("quiet")
    logging.getLogger("httpx").info("GET with an address")
    assert capsys.readouterr().out == ""
