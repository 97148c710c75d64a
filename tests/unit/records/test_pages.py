"""What the pages make of rows: times to listen from, what an answer waited for, numbers as people read them. No database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from calls.models import CallEvent, Turn
from calls.timeline_format import clock, exact_clock, exact_time, length, milliseconds, moment
from calls.timeline_memory import memories
from calls.timeline_page import end_reason, exchanges
from calls.timeline_turns import SLOW_MS, Waits, course

NOON = datetime(2026, 11, 23, 12, 0, 7, 45_000, tzinfo=UTC)


def turn(number: int, **more: Any) -> Turn:
    """An answer: the caller's last sound at 2,000 ms, certain at 2,400, sounding at 2,900."""
    fields = {
        "kind": "answer", "outcome": "answered", "user_text": "Hello?", "generated_text": "Hi.", "heard_text": "Hi.",
        "speech_ended_ms": 2_000, "committed_ms": 2_400, "first_audio_ms": 2_900, "latency_ms": 900,
    }  # fmt: skip
    return Turn(number=number, **{**fields, **more})


def entry(type_: str, at_ms: int, **data: Any) -> CallEvent:
    return CallEvent(kind="event", type=type_, at_ms=at_ms, at=NOON, turn=data.get("turn", 0), data=data)


def say(at_ms: int, *, epoch: int = 1, turn: int = 1) -> CallEvent:
    return entry("Say", at_ms, turn=turn, epoch=epoch, text="Hi.")


LENGTHS = {None: "no data", 0: "0:00", 7_400: "0:07", 59_600: "1:00", 192_000: "3:12", 3_792_000: "1:03:12"}
CLOCKS = {None: "", 0: "0:00.0", 67_342: "1:07.3", 3_600_000: "60:00.0"}


def test_numbers_as_people_read_them() -> None:
    assert {ms: length(ms) for ms in LENGTHS} == LENGTHS
    assert {ms: clock(ms) for ms in CLOCKS} == CLOCKS
    assert exact_clock(67_342) == "1:07.342"
    assert [milliseconds(ms) for ms in (None, 0, 1_234, 12_340)] == ["no data", "0 ms", "1,234 ms", "12.3 s"]


def test_times_name_their_zone_and_say_what_a_script_may_make_of_them() -> None:
    assert moment(NOON) == (
        '<time datetime="2026-11-23T12:00:07.045000+00:00" data-local="moment">23 Nov 2026, 12:00:07 UTC</time>'
    )
    assert "12:00:07.045<" in exact_time(NOON)
    assert moment(None) == "no data"


#: What the log has, and the second from which the caller's words are played.
BEGINNINGS: list[tuple[str, list[CallEvent], str]] = [
    ("the detector first", [entry("SpeechStarted", 700, voiced_at_ms=610), entry("TurnOpened", 800)], "0.61"),
    ("the recogniser first", [entry("TurnOpened", 600), entry("SpeechStarted", 700, voiced_at_ms=610)], "0.61"),
    ("the recogniser alone", [entry("TurnOpened", 800)], "0.80"),
    ("the detector alone", [entry("SpeechStarted", 700, voiced_at_ms=610)], "0.61"),
    (
        "a pause within",
        [
            entry("SpeechStarted", 700, voiced_at_ms=610),
            entry("TurnOpened", 800),
            entry("SpeechStarted", 1_700, voiced_at_ms=1_600),
        ],
        "0.61",
    ),
    (
        "a noise before",
        [
            entry("SpeechStarted", 100, voiced_at_ms=90),
            entry("TurnOpened", 120),
            entry("TurnOpened", 1_500),
            entry("SpeechStarted", 1_550, voiced_at_ms=1_450),
        ],
        "1.45",
    ),
    ("nothing", [], "2.00"),
    ("broken entries", [entry("SpeechStarted", 700), CallEvent(type="SpeechStarted", at_ms=1, data=[1])], "2.00"),
]


@pytest.mark.parametrize(("log", "seek_s"), [case[1:] for case in BEGINNINGS], ids=[case[0] for case in BEGINNINGS])
def test_the_callers_words_are_played_from_their_first_sound(log: list[CallEvent], seek_s: str) -> None:
    (shown,) = exchanges([turn(1)], log)

    assert shown.caller
    assert shown.caller.seek_s == seek_s


def test_the_answer_is_played_from_its_first_sound() -> None:
    (shown,) = exchanges([turn(1)], [])

    assert shown.agent
    assert (shown.agent.at, shown.agent.seek_s) == ("0:02.9", "2.90")


def test_a_turn_does_not_begin_before_the_one_it_follows() -> None:
    log = [entry("SpeechStarted", 700, voiced_at_ms=610), entry("TurnOpened", 800)]

    first, second = exchanges([turn(1), turn(2, speech_ended_ms=9_000, first_audio_ms=9_800)], log)

    assert first.caller
    assert second.caller
    assert (first.caller.seek_s, second.caller.seek_s) == ("0.61", "9.00")


def test_a_turn_that_came_to_nothing_has_no_times() -> None:
    nothing = dict.fromkeys(("speech_ended_ms", "committed_ms", "first_audio_ms", "latency_ms"))

    (shown,) = exchanges([turn(1, **nothing)], [])

    assert (shown.caller, shown.agent, shown.at, shown.latency, shown.waits) == (None, None, "", "", None)


WAITS: list[tuple[str, dict[str, Any], list[CallEvent], Waits | None]] = [
    ("one after the other", {}, [say(2_600)], Waits(400, 200, 300)),
    ("the reply was begun early", {}, [say(1_900)], Waits(400, 0, 500)),
    (
        "and sounded as soon as it was sure",
        {"first_audio_ms": 2_400, "latency_ms": 400},
        [say(1_900)],
        Waits(400, 0, 0),
    ),
    ("an attempt that was dropped", {}, [say(2_100), say(2_700, epoch=2)], Waits(400, 300, 200)),
    ("an attempt after the first sound", {}, [say(2_600), say(3_000, epoch=2)], Waits(400, 200, 300)),
    ("sure before the caller was silent", {"committed_ms": 1_900}, [say(2_600)], Waits(0, 600, 300)),
    ("another turn's words", {}, [say(2_600, turn=2)], None),
    ("a recorded phrase", {}, [], None),
    ("a filler came first", {"latency_ms": 1_500}, [say(2_600)], None),
    ("no latency", {"latency_ms": None}, [say(2_600)], None),
]


@pytest.mark.parametrize(
    ("more", "log", "expected"), [case[1:] for case in WAITS], ids=[case[0].replace(" ", "-") for case in WAITS]
)
def test_what_an_answer_waited_for(more: dict[str, Any], log: list[CallEvent], expected: Waits | None) -> None:
    row = turn(1, **more)

    waits = course(log).waits(row)

    assert waits == expected
    if waits:
        assert waits.turn_end + waits.model + waits.voice == row.latency_ms


def test_waits_leave_out_what_took_no_time() -> None:
    assert str(Waits(1_865, 540, 747)) == "turn end 1,865 + model 540 + voice 747 ms"
    assert str(Waits(709, 0, 0)) == "turn end 709 ms"


def test_slow_is_above_the_threshold_and_names_it() -> None:
    rows = [turn(1, latency_ms=SLOW_MS), turn(2, latency_ms=SLOW_MS + 1)]

    assert [shown.slow_above for shown in exchanges(rows, [])] == ["", "1,500 ms"]


def test_only_the_callers_turns_are_numbered() -> None:
    rows = [turn(0, kind="greeting"), turn(1), turn(2, kind="prompt"), turn(3), turn(4, kind="notice")]

    shown = [exchange.title for exchange in exchanges(rows, [])]

    assert shown == ["Greeting", "Turn 1", "Silence prompt", "Turn 2", "Notice"]


def test_every_end_has_a_sentence() -> None:
    from calls.core.state import END_REASONS
    from calls.models import Call
    from calls.services.carrier import NEVER_CONNECTED

    for reason in (*END_REASONS, *NEVER_CONNECTED.values(), "no_agent"):
        assert end_reason(Call(end_reason=reason)) not in ("", reason.replace("_", " ")), reason
    assert end_reason(Call(end_reason="new_one")) == "new one"


# --- what was recalled ------------------------------------------------------------------------------------------------

SID = "CA" + "9" * 32
ITEM = {
    "id": "m1", "level": "L2", "kind": "preference", "text": "by the window", "score_milli": 812, "in_prompt": True,
    "why_not": "", "said_at": "2026-11-02T18:30:00Z", "conversation": SID, "seq": 4, "audio_ms": 21_400, "quote": "by it",
}  # fmt: skip


def test_what_was_recalled_says_where_it_was_said_and_why_it_was_left_out() -> None:
    items = [
        ITEM,
        {
            **ITEM,
            "in_prompt": False,
            "why_not": "floor",
            "conversation": "import 3",
            "audio_ms": -1,
            "role": "assistant",
        },
    ]
    shown = memories({"outcome": "full", "took_ms": 12, "items": items})
    assert shown is not None
    assert shown.summary == "Recalled 1 of 2 found, 12 ms"
    first, second = shown.memos
    assert first.about == "preference, L2, score 0.81, 2026-11-02, m1"
    assert (first.left_out, first.call_sid, first.at, first.seek_s) == ("", SID, "0:21.4", "21.40")
    assert "said by the agent" in second.about
    assert (second.left_out, second.call_sid, second.at, second.seek_s) == ("fits too little", "", "", "")


SUMMARIES: list[tuple[Any, str | None]] = [
    ({}, None),
    ("nonsense", None),
    ({"outcome": "late", "took_ms": None, "items": []}, "Nothing recalled, too late: the model was asked without it"),
    ({"outcome": "words", "took_ms": 9, "items": []}, "Nothing recalled, 9 ms, by its words alone: its meaning came too late"),
    ({"outcome": "full", "took_ms": 9, "items": "nonsense"}, "Nothing recalled, 9 ms"),
    ({"outcome": "full", "took_ms": "9", "items": [1, {}]}, "Recalled 0 of 1 found"),
]  # fmt: skip


@pytest.mark.parametrize(("recalled", "summary"), SUMMARIES)
def test_a_recall_in_one_line(recalled: Any, summary: str | None) -> None:
    shown = memories(recalled)
    assert (shown.summary if shown else None) == summary
