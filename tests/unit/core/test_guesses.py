"""Speculative replies: begun at a probable end of turn, heard only when it is one."""

from __future__ import annotations

from calls.core import events as e
from calls.core.commands import AskModel, CancelModel, CancelVoice, HangUp, PlayPhrase
from tests.unit.core.world import World, agent


def test_a_guess_that_fails_is_dropped_and_its_turn_answered_afresh() -> None:
    w = World()
    for _ in range(4):
        w.starts()
        w.stops()
        w.feed(e.EagerEnd(text="I want a table"))
        w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="cut"))
    assert w.state.reply is None
    w.feed(e.TurnEnded(text="I want a table"))
    assert not w.ask.speculative
    w.answer("Certainly. ")
    w.wait(5000)
    assert w.of(PlayPhrase) == []
    assert w.of(HangUp) == []
    assert [t.outcome for t in w.closed] == ["answered"]


def test_a_guess_that_the_voice_cannot_speak_is_dropped_too() -> None:
    w = World()
    w.feed(e.EagerEnd(text="I want a table"))
    w.model("Certainly. ")
    for _ in range(2):
        assert w.state.reply is not None
        w.feed(e.VoiceFailed(turn=1, epoch=w.state.epoch, kind="cut"))
    assert w.state.reply is None


def test_what_discarded_guesses_generated_is_counted_with_their_turn() -> None:
    w = World()
    for text in ("I want", "I want a", "I want a table"):
        w.feed(e.EagerEnd(text=text))
        w.model("Certainly. ", finish="")
    w.feed(e.TurnResumed())
    w.feed(e.TurnEnded(text="I want a table for two"))
    w.answer("Done. ")
    w.wait(5000)
    assert w.closed[0].wasted_chars == 3 * len("Certainly. ")
    w.say("thanks")
    w.answer("Welcome. ")
    w.wait(5000)
    assert w.closed[1].wasted_chars == 0


def test_the_ear_fails_for_good_during_a_guess_over_a_stopped_reply() -> None:
    w = World(agent(greeting="Hello, how can I help you today?"))
    w.voice()
    w.wait(700)
    w.starts()
    w.feed(e.EagerEnd(text="I want a table"))
    commands = w.feed(e.EarFailed(kind="refused", final=True))
    draft = w.of(AskModel)[-1]
    assert CancelModel(draft.turn, draft.epoch) in commands
    assert CancelVoice(draft.turn, draft.epoch) in commands
    assert [(t.turn, t.outcome) for t in w.closed] == [(0, "interrupted")]
    w.wait(10_000)
    assert w.end_reason == "ear_failed"


def test_a_caller_who_answers_a_prompt_by_a_guess_that_holds_has_all_prompts_again() -> None:
    w = World()
    w.wait(9000)
    w.voice()
    w.wait(3000)
    assert w.state.caller.idle_count == 1
    w.feed(e.EagerEnd(text="I want a table"))
    w.feed(e.TurnEnded(text="I want a table"))
    assert w.state.caller.idle_count == 0
