"""The story of a call whose every step is known, and that leaving out what does not count changes nothing."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from calls.core.record import payload, tagged
from tests.app.records.conversation import Conversation, booked_table
from voiceagent.console.call import keeping
from voiceagent.console.call.story import ASK, FIRSTS, KEPT, TOKENS, Line, Story
from voiceagent.console.call.waterfall import waterfall, with_usual

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines_of(talk: Conversation) -> Iterator[Line]:
    """Every entry of its log."""
    seq = 0
    for taken in talk.steps:
        for value in (taken.event, *taken.commands):
            seq += 1
            kind = "command" if seq and value is not taken.event else "event"
            yield Line(
                seq,
                kind,
                type(value).__name__,
                taken.event.at_ms,
                taken.state.mode.value,
                taken.state.turn,
                tagged(value),
            )


def kept(lines: list[Line]) -> Iterator[Line]:
    """What the archive's page reads of them."""
    seen: dict[tuple[object, ...], str] = {}
    mode = None
    for line in lines:
        attempt = (line.data.get("turn"), line.data.get("epoch"))
        changed = line.kind == "event" and line.mode != mode
        mode = line.mode if line.kind == "event" else mode
        slim = line._replace(data={name: line.data.get(name) for name in ("turn", "epoch", "speculative")})
        if line.type in KEPT:
            yield line
        elif line.type in (ASK, *TOKENS):
            before, seen[attempt] = seen.get(attempt), line.type
            if ASK in (line.type, before):
                yield slim
        elif line.type in FIRSTS and (line.type, *attempt) not in seen:
            seen[(line.type, *attempt)] = ""
            yield slim
        elif changed:
            yield line._replace(data={})


def shown(story: Story) -> dict[str, object]:
    steps = {number: payload(found) for number, found in story.turns.items()}
    for found in steps.values():
        found.pop("last_seq")
    return {
        "states": story.states, "marks": story.marks, "steps": steps, "speech": story.speech, "unheard": story.unheard,
        "chars": story.voiced_chars,
        "over": story.end_reason, "silences": story.silences(), "talk": story.talk_ms(), "tokens": story.tokens,
    }  # fmt: skip


def test_what_does_not_count_can_be_left_out() -> None:
    lines = list(lines_of(booked_table()))
    some = list(kept(lines))
    assert len(some) < len(lines) / 2
    assert shown(Story().take_all(some)) == shown(Story().take_all(lines))


def test_a_story_that_was_kept_is_the_same() -> None:
    story = Story().take_all(lines_of(booked_table()))
    kept_story = keeping.opened(json.loads(json.dumps(keeping.closed(story))))
    assert shown(kept_story) == shown(story)
    assert {n: waterfall(steps) for n, steps in kept_story.turns.items()} == {
        n: waterfall(steps) for n, steps in story.turns.items()
    }


def test_states_are_the_recorded_transitions() -> None:
    talk = booked_table()
    story = Story().take_all(lines_of(talk))
    modes = {taken.event.at_ms: taken.state.mode.value for taken in talk.steps}
    asked = next(taken.event.at_ms for taken in talk.steps if any(type(c).__name__ == "HangUp" for c in taken.commands))
    modes = {at_ms: "ENDING" if at_ms >= asked else mode for at_ms, mode in modes.items()}
    changes = [pair for pair, before in zip(modes.items(), [None, *modes.values()], strict=False) if pair[1] != before]
    assert story.states == changes
    assert [state for _, state in changes[:3]] == ["THINKING", "SPEAKING", "LISTENING"]


def test_a_barge_in_is_marked_where_the_caller_began() -> None:
    talk = booked_table()
    story = Story().take_all(lines_of(talk))
    (mark,) = [mark for mark in story.marks if mark.kind == "barge-in"]
    cleared = next(taken for taken in talk.steps if any(type(c).__name__ == "Clear" for c in taken.commands))
    assert (mark.at_ms, mark.until_ms) == (cleared.event.voiced_at_ms, cleared.event.at_ms)  # type: ignore[attr-defined]
    assert mark.text == "barge-in: silent 90 ms after the caller's first sound"


def test_audio_that_was_sent_and_not_heard_is_known() -> None:
    """From the cut word to where the last word that was sent would have ended."""
    talk = booked_table()
    story = Story().take_all(lines_of(talk))
    (closed,) = [c for taken in talk.steps for c in taken.commands if getattr(c, "outcome", "") == "interrupted"]
    flushed = [word for word in closed.words if word.state == "flushed"]
    assert story.unheard == [(flushed[0].start_ms, flushed[-1].end_ms)]
    assert story.unheard[0][0] < closed.closed_ms < story.unheard[0][1]


def test_the_parts_of_every_waterfall_add_up_and_are_the_recorded_events() -> None:
    talk = booked_table()
    story = Story().take_all(lines_of(talk))
    falls = {number: fall for number, steps in story.turns.items() if (fall := waterfall(steps))}
    closed = [
        c for taken in talk.steps for c in taken.commands if type(c).__name__ == "TurnClosed" and c.kind == "answer"
    ]
    assert {c.turn: c.answer_audio_ms - c.speech_ended_ms for c in closed} == {
        n: fall.total_ms for n, fall in falls.items()
    }
    for fall in falls.values():
        assert fall.counted_ms == fall.total_ms
        solid = [part for part in fall.parts if part.counted_ms]
        for before, after in itertools.pairwise(solid):
            assert before.counted_from_ms + before.counted_ms == after.counted_from_ms, "no gap and no overlap"
    parts = {part.stage: part.counted_ms for part in falls[1].parts}
    assert parts["wait"] == 260
    assert parts["token"] == 310
    assert parts["words"] + parts["voice"] == 150
    assert parts["sent"] == 0


def test_a_function_is_a_part_of_its_own() -> None:
    story = Story().take_all(lines_of(booked_table()))
    fall = waterfall(story.turns[3])
    assert fall
    assert [(part.name, part.counted_ms) for part in fall.parts if part.counted_ms] == [
        ("End-of-turn wait", 260),
        ("Model, first token", 310),
        ("Function book_table", 90),
        ("Model, first token", 310),
        ("Voice, first byte", 150),
    ]


def test_a_step_that_is_not_on_record_is_missing_and_its_time_is_not_lost() -> None:
    lines = [line for line in lines_of(booked_table()) if line.type not in ("ModelText", "ModelToolCall")]
    fall = waterfall(Story().take_all(lines).turns[1])
    assert fall
    token = next(part for part in fall.parts if part.stage == "token")
    assert (token.is_missing, token.took_ms, token.counted_ms) == (True, None, 0)
    assert fall.counted_ms == fall.total_ms


def test_what_is_usual_comes_from_the_other_turns() -> None:
    falls = [fall for steps in Story().take_all(lines_of(booked_table())).turns.values() if (fall := waterfall(steps))]
    usual = {part.stage: part.usual for part in with_usual(falls[0], falls[1:]).parts}
    assert usual["wait"] == (260, 260)
    assert usual["token"] == (310, 980)
    assert {part.usual for part in with_usual(falls[0], falls[1:3]).parts if part.stage == "wait"} == {None}


def test_a_recall_that_came_after_the_request_was_not_waited_for_and_no_step_took_less_than_nothing() -> None:
    steps = Story().take_all(lines_of(booked_table())).turns[1]
    heard = next(attempt for attempt in steps.attempts.values() if attempt.sent_ms >= 0)
    asked_ms = heard.requests[0].asked_ms
    heard.recall_ms, heard.recalled_ms = asked_ms - 30, asked_ms + 45
    fall = waterfall(steps)
    assert fall
    took = {part.stage: part.took_ms for part in fall.parts}
    assert (took["recall"], took["prompt"], took["token"]) == (30, 0, 310)
    assert fall.counted_ms == fall.total_ms
    usual = {part.stage: part.usual for part in with_usual(fall, [fall] * 3).parts}
    assert usual["prompt"] == (0, 0)


def test_lines_that_mean_nothing_do_no_harm() -> None:
    odd = [
        Line(1, "event", name, 5, "LISTENING", 0, data)
        for name in (*KEPT, *FIRSTS, "Unknown")
        for data in ({}, {"turn": "x", "epoch": None, "words": 3, "items": "y"})
    ]
    Story().take_all(odd).silences()


def test_a_stretch_of_silence_is_found() -> None:
    talk = Conversation()
    talk.begin()
    talk.agent_speaks()
    quiet_from = talk.now
    talk.now += 5000
    talk.caller_says("Hello?")
    story = Story().take_all(lines_of(talk))
    began = story.speech[0][0]
    assert story.silences() == [(quiet_from, began)]


def test_an_operator_has_the_floor_from_the_taking_to_the_end_of_it() -> None:
    """A refused take-over changes nothing; what became of each request is told."""
    told = [
        ("event", "CallStarted", 0, {"agent": {}}),
        ("event", "OperatorTookOver", 1000, {"by": "ann", "key": "a"}),
        ("command", "Intervened", 1000, {"by": "ann", "action": "take_over", "outcome": "refused", "turn": 0}),
        ("event", "OperatorTookOver", 2000, {"by": "bo", "key": "b"}),
        ("command", "Intervened", 2000, {"by": "bo", "action": "take_over", "outcome": "taken", "turn": 0}),
        ("event", "SpeechStarted", 3000, {"voiced_at_ms": 2950}),
        ("event", "OperatorHandedBack", 5000, {"by": "bo", "key": "c", "summary": "It is booked."}),
        ("command", "Intervened", 5000, {"by": "bo", "action": "hand_back", "outcome": "done", "turn": 0}),
    ]
    story = Story().take_all(
        Line(seq, kind, name, at, "LISTENING", 0, data) for seq, (kind, name, at, data) in enumerate(told, 1)
    )
    assert story.states == [(0, "LISTENING"), (2000, "OPERATOR"), (5000, "LISTENING")]
    assert [mark.at_ms for mark in story.marks] == [1000, 1000, 2000, 2000, 5000, 5000]
    assert "bo hands the call back: It is booked." in [mark.text for mark in story.marks]
