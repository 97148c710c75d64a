"""Entries folded into turns: what the core said is taken, what it could not say any more is put together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.core.commands import AskModel, Clear, Command, EndCall, Message, Recall, Say, SpokenWord, TurnClosed
from calls.core.events import (
    AudioSent,
    CallStarted,
    EarFailed,
    Event,
    MarkReturned,
    MemoryRecalled,
    Recalled,
    TimedWord,
    WordsTimed,
)
from calls.core.policy import AgentProfile
from calls.core.record import dumps
from calls.services.entries import Entry, read, read_entry
from calls.services.timeline import fold, with_reason

AGENT = AgentProfile(name="a", version=1, instructions="", greeting="", voice="v")


def entries(*values: Event | Command, at_ms: int = 0) -> list[Entry]:
    return read(
        (
            f"{seq}-0".encode(),
            {
                b"seq": str(seq).encode(),
                b"step": b"1",
                b"kind": b"event" if isinstance(value, Event) else b"command",
                b"type": type(value).__name__.encode(),
                b"at_ms": str(getattr(value, "at_ms", at_ms)).encode(),
                b"wall_ms": str(1_000_000 + getattr(value, "at_ms", at_ms)).encode(),
                b"mode": b"SPEAKING",
                b"turn": b"1",
                b"data": dumps(value),
            },
        )
        for seq, value in enumerate(values, 1)
    )


def closed(turn: int, **more: Any) -> TurnClosed:
    fields = {
        "kind": "answer", "outcome": "answered", "user_text": "u", "generated_text": "g", "heard_text": "g",
        "speech_ended_ms": 100, "committed_ms": 200, "first_audio_ms": 900, "closed_ms": 2000,
    }  # fmt: skip
    fields |= more
    return TurnClosed(turn=turn, **{"answer_audio_ms": fields["first_audio_ms"], **fields})


def test_turns_and_totals() -> None:
    facts = fold(
        entries(
            CallStarted(call_sid="CA1", agent=AGENT, at_ms=0),
            closed(0, kind="greeting", speech_ended_ms=-1),
            EarFailed(kind="cut", at_ms=50),
            closed(1),
            closed(2, outcome="interrupted", first_audio_ms=1500),
            closed(3, first_audio_ms=-1),
            EndCall("caller_hung_up"),
        )
    )

    assert [turn.latency_ms for turn in facts.turns] == [None, 800, 1400, None]
    assert (facts.latency_median_ms, facts.latency_max_ms, facts.barge_ins) == (1100, 1400, 1)
    assert (facts.errors, facts.broken, facts.missing, facts.end_reason) == (1, 0, 0, "caller_hung_up")
    assert facts.first_wall_ms == 1_000_000
    assert facts.turn_count == 3
    assert with_reason(facts, "process_died").end_reason == "caller_hung_up"
    assert with_reason(facts, "internal_error").errors == 1


def test_audio_before_the_end_of_speech_is_no_latency() -> None:
    assert fold(entries(closed(1, speech_ended_ms=500, first_audio_ms=400))).turns[0].latency_ms is None


@pytest.mark.parametrize(
    ("more", "latencies_ms"),
    [
        ({"answer_audio_ms": -1, "outcome": "failed_to_fallback"}, []),
        (
            {"answer_audio_ms": 900, "outcome": "failed_to_fallback"},
            [],
        ),  # the voice failed: the apology sounded for the words
        ({"answer_audio_ms": -1, "outcome": "call_ended"}, []),  # only a filler
        ({"answer_audio_ms": 1_600}, [1_500]),  # after a filler
    ],
)
def test_an_apology_and_a_filler_are_no_answers(more: dict[str, Any], latencies_ms: list[int]) -> None:
    facts = fold(entries(closed(1, **more)))
    assert facts.latencies_ms == latencies_ms
    assert facts.latency_max_ms == (latencies_ms[0] if latencies_ms else None)


def test_a_record_of_earlier_rules_counts_the_first_sound() -> None:
    whole = entries(closed(1))
    del whole[0].data["answer_audio_ms"]
    assert fold(whole).latencies_ms == [800]


def lost_turn(*extra: Event | Command) -> Any:
    sent = [AudioSent(turn=1, epoch=1, piece=piece, size_bytes=1600, at_ms=300 + piece) for piece in (1, 2, 3)]
    timed = WordsTimed(
        turn=1,
        epoch=1,
        words=tuple(TimedWord(word, n * 200, n * 200 + 190) for n, word in enumerate(("one", "two", "three"))),
    )
    ask = AskModel(1, 1, (Message("developer", "x"), Message("user", "hello"), Message("assistant", "hi")))
    facts = fold(entries(ask, Say(1, 1, "one two "), Say(1, 1, "three"), *sent, timed, *extra))
    return facts.turns[0]


def mark(piece: int) -> MarkReturned:
    return MarkReturned(turn=1, epoch=1, piece=piece)


def test_a_turn_that_nobody_closed() -> None:
    turn = lost_turn(mark(1), mark(2))

    assert (turn.outcome, turn.user_text, turn.generated_text) == ("call_ended", "hello", "one two three")
    assert turn.heard_text == "one two"
    assert (turn.first_audio_ms, turn.closed_ms, turn.latency_ms) == (301, None, None)


def test_marks_after_a_clear_are_no_proof_of_hearing() -> None:
    assert lost_turn(mark(1), Clear(1), mark(2), mark(3)).heard_text == "one"
    assert lost_turn(Clear(0), mark(1), mark(2), mark(3)).heard_text == "one two three"


def test_a_closed_turn_is_not_opened_again_by_late_echoes() -> None:
    facts = fold(entries(closed(1), mark(1), AudioSent(turn=1, epoch=1, piece=9, size_bytes=8)))

    assert [turn.outcome for turn in facts.turns] == ["answered"]


def test_no_entries_at_all() -> None:
    facts = fold([])

    assert (facts.turns, facts.end_reason, facts.duration_ms, facts.first_wall_ms) == ((), "", 0, None)
    assert with_reason(facts, "process_died").end_reason == "process_died"
    crashed = with_reason(facts, "internal_error")
    assert (crashed.end_reason, crashed.errors) == ("internal_error", 1)


def test_turns_are_those_of_the_caller() -> None:
    kinds = ("greeting", "answer", "prompt", "answer", "notice")
    facts = fold(entries(*(closed(turn, kind=kind) for turn, kind in enumerate(kinds))))

    assert (facts.turn_count, facts.latencies_ms) == (2, [800, 800])


@given(
    st.binary(max_size=30),
    st.dictionaries(
        st.one_of(
            st.sampled_from([b"seq", b"kind", b"type", b"at_ms", b"data", b"turn", b"wall_ms"]), st.binary(max_size=5)
        ),
        st.one_of(
            st.binary(max_size=60), st.sampled_from([b"event", b"command", b"EarReady", b'{"type":"EarReady"}', b"7"])
        ),
    ),
)
def test_any_bytes_make_an_entry_that_can_be_stored(stream_id: bytes, fields: dict[bytes, bytes]) -> None:
    entry = read_entry(stream_id, fields)
    fold([entry])

    assert entry.kind in ("event", "command", "broken")
    assert (entry.value is None) == (entry.kind == "broken")
    assert entry.kind != "broken" or entry.error
    assert all(0 <= number < 2**63 for number in (entry.seq, entry.step, entry.at_ms, entry.wall_ms))
    assert 0 <= entry.turn < 2**31
    for text in (entry.type, entry.mode, entry.error, str(entry.data)):
        assert "\x00" not in text
        text.encode()


@pytest.mark.parametrize("place", [b"12-0", b"12"])
def test_an_entry_without_a_number_keeps_its_place(place: bytes) -> None:
    assert read_entry(place, {}).seq == 12


def test_what_became_of_each_word_is_kept() -> None:
    facts = fold(
        entries(
            CallStarted(call_sid="CA1", agent=AGENT, at_ms=0),
            closed(1, words=(SpokenWord("Hello", "heard", 100, 300), SpokenWord("the\x00re", "flushed", 300, 500))),
        )
    )
    assert facts.turns[0].spoken_words == (
        {"text": "Hello", "state": "heard", "start_ms": 100, "end_ms": 300},
        {"text": "the\ufffdre", "state": "flushed", "start_ms": 300, "end_ms": 500},
    )


# --- what was recalled ------------------------------------------------------------------------------------------------

WINDOW = Recalled(
    id="m1", level="L2", kind="preference", text="by the window", score_milli=812, said_at="2026-11-02T18:30:00Z",
    conversation="CA9", seq=4, audio_ms=21_400, quote="the one by the window",
)  # fmt: skip
RAIN = Recalled(id="m2", level="L3", kind="utterance", text="it rains", in_prompt=False, why_not="floor")


def recall(epoch: int, turn: int = 1) -> Recall:
    return Recall(turn, epoch, "u", 30)


def recalled(epoch: int, *items: Recalled, turn: int = 1, outcome: str = "full") -> MemoryRecalled:
    return MemoryRecalled(turn=turn, epoch=epoch, outcome=outcome, took_ms=12, items=items)


def asked(epoch: int, turn: int = 1) -> AskModel:
    return AskModel(turn, epoch, (Message("user", "u"),))


def of_turn(*values: Event | Command) -> dict[str, Any]:
    return fold(entries(*values, closed(1))).turns[0].recalled


def test_a_turn_tells_what_was_recalled_for_it_and_where_that_was_said() -> None:
    found = of_turn(recall(1), recalled(1, WINDOW, RAIN), asked(1))
    assert (found["outcome"], found["took_ms"]) == ("full", 12)
    first, second = found["items"]
    assert first == {
        "id": "m1", "level": "L2", "kind": "preference", "text": "by the window", "score_milli": 812, "in_prompt": True,
        "why_not": "", "said_at": "2026-11-02T18:30:00Z", "conversation": "CA9", "seq": 4, "audio_ms": 21_400,
        "quote": "the one by the window", "role": "user", "after": "",
    }  # fmt: skip
    assert (second["in_prompt"], second["why_not"]) == (False, "floor")


def test_what_came_after_the_model_was_asked_reached_no_prompt() -> None:
    found = of_turn(recall(1), asked(1), recalled(1, WINDOW, RAIN))
    assert found["outcome"] == "late"
    assert [(item["in_prompt"], item["why_not"]) for item in found["items"]] == [(False, "late"), (False, "floor")]
    assert of_turn(recall(1), asked(1)) == {"outcome": "late", "took_ms": None, "items": []}


def test_the_last_attempt_at_a_turn_counts() -> None:
    guess = (recall(1), recalled(1, RAIN), asked(1))
    assert [item["id"] for item in of_turn(*guess, recall(2), recalled(2, WINDOW), asked(2))["items"]] == ["m1"]
    assert of_turn(*guess, recall(2), recalled(1, WINDOW)) == {"outcome": "dropped", "took_ms": None, "items": []}
    again = (*guess, asked(1), AskModel(1, 3, ()))  # a function's result; a voice that failed
    assert [item["id"] for item in of_turn(*again)["items"]] == ["m2"]


def test_without_a_memory_a_turn_tells_nothing_of_one() -> None:
    assert of_turn(asked(1)) == {}
    assert of_turn(recalled(1, WINDOW)) == {}


def test_what_failed_in_a_turn_is_kept() -> None:
    facts = fold(entries(closed(1, causes=("model:cut", "voice:\x00hung")), closed(2)))
    assert [turn.causes for turn in facts.turns] == [("model:cut", "voice:\N{REPLACEMENT CHARACTER}hung"), ()]
