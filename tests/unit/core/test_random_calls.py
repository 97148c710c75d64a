"""Random calls under the eyes of the checker; the record replays; and the checker finds bugs that are put in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from calls.core import answering, hearing, machine, record, replies, speech, tooling
from calls.core import events as e
from calls.core.machine import step
from calls.core.state import Mode, State
from calls.replay.invariants import Violation
from tests.unit.core.fuzz import random_call

if TYPE_CHECKING:
    from calls.core.work import Work

SEEDS = 300
BATCH = 25


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_happens_in_whatever_order_the_invariants_hold(first: int) -> None:
    for seed in range(first, first + BATCH):
        random_call(seed)


@pytest.mark.parametrize("seed", range(1000, 1030))
def test_the_record_of_a_call_replays_to_the_same_states_and_commands(seed: int) -> None:
    w = random_call(seed)
    lines = [record.dumps(event) for _, event, _, _ in w.steps]
    state = State()
    for line, (_, event, commands, after) in zip(lines, w.steps, strict=True):
        read = record.event_from(json.loads(line))
        assert read == event
        state, again = step(state, read)
        assert [record.dumps(x) for x in again] == [record.dumps(x) for x in commands]
        assert state == after
        assert repr(state) == repr(after)
        assert [record.command_from(json.loads(record.dumps(x))) for x in again] == list(commands)


# --- known bugs, put in on purpose ------------------------------------------------------------------------------------


def found_within(seeds: int) -> Violation:
    """The first violation that random calls show."""
    for seed in range(seeds):
        try:
            random_call(seed)
        except Violation as violation:
            return violation
    pytest.fail(f"{seeds} random calls did not find it")


def no_epoch_check(w: Work, turn: int, epoch: int) -> bool:
    """The bug: whatever arrives belongs to the reply there is."""
    return w.state.reply is not None


def echo_is_heard(w: Work, event: e.MarkReturned) -> None:
    """The bug: a mark that a clear gives back counts as played."""
    stopped = w.state.cut
    if stopped is not None and stopped.epoch == event.epoch:
        played = speech.returned(stopped.playback, w.now, event.piece)
        if played is not None:
            heard = speech.heard_until(played, stopped.text, stopped.said, w.now, complete=False)
            w.set(cut=replace(stopped, playback=played, cut_at=max(heard, stopped.cut_at)))
        return
    answering.mark_returned(w, event)


def two_replies(w: Work, event: e.TurnEnded) -> None:
    """The bug: an amended turn gets a second reply, and the first goes on."""
    text = event.text.strip()
    if text and w.reply.interruptible and w.reply.first_audio_ms < 0:
        replies.answer(w, text)
        return
    hearing.turn_ended_over_thinking(w, event)


def clear_forgotten(w: Work) -> None:
    """The bug: barge-in stops the work but leaves the carrier's buffer."""
    reply = w.reply
    replies.stop_work(w)
    w.set(reply=None, cut=replace(reply, cut_at=replies.heard_until(w, reply), held=False))
    w.disarm(replies.WATCH, replies.IDLE)


def put_in_row(monkeypatch: pytest.MonkeyPatch, event: type[e.Event], handler: Any) -> None:
    for mode in Mode:
        row = machine.TABLE[mode][event]
        if mode is Mode.THINKING or event is not e.TurnEnded:
            monkeypatch.setitem(machine.TABLE[mode], event, row._replace(handler=handler))


def test_finds_a_missing_epoch_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "current", no_epoch_check)
    assert "turn isolation" in str(found_within(20))


def test_finds_an_echoed_mark_that_counts_as_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_row(monkeypatch, e.MarkReturned, echo_is_heard)
    assert "turn isolation" in str(found_within(100))


def test_finds_a_second_reply_to_an_amended_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_row(monkeypatch, e.TurnEnded, two_replies)
    assert "exactly once" in str(found_within(50))


def test_finds_a_barge_in_without_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "cut", clear_forgotten)
    assert "immediate barge-in" in str(found_within(50))


def test_finds_speech_that_counts_as_heard_when_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "position_bytes", lambda playback, at_ms: playback.sent_bytes)
    assert "heard truth" in str(found_within(100))


def test_finds_a_verdict_that_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "VERDICT", "nobody's")
    assert "no dead state" in str(found_within(50))


def test_finds_a_payment_from_a_turn_that_is_not_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tooling, "start", hasty_tools(tooling.start))
    assert "tools settle" in str(found_within(100))


def hasty_tools(original: Any) -> Any:
    """The bug: tools run for a guess and over a caller who speaks, as if the turn were sure."""

    def start(w: Work) -> None:
        reply, caller = w.reply, w.state.caller
        w.set_reply(confirmed=True, held=False)
        w.set_caller(speaking=False)
        original(w)
        w.set_reply(confirmed=reply.confirmed, held=reply.held)
        w.set_caller(speaking=caller.speaking)

    return start


def test_finds_words_of_the_caller_that_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "_keep", lambda w, text: None)
    assert "was lost" in str(found_within(200))
