"""What our own people do to a call: whisper, say, take over, hand back, end."""

from __future__ import annotations

import pytest

from calls.core import events as e
from calls.core import history
from calls.core.commands import AskModel, CancelModel, Clear, HangUp, Intervened, LendGate, Recall, Say, TakeGateBack
from calls.core.machine import IllegalEvent
from calls.core.operating import MOST_WAITING
from calls.core.phrases import RETURNS
from calls.core.state import Mode, Phase, State
from tests.unit.core.fuzz import Watched
from tests.unit.core.world import World, agent

LONG = "We have a table for two at seven and another one at eight, both are by the window. "
NOTICE = "This call is recorded. How can I help you? "


def whisper(w: World, text: str = "Offer the terrace.", key: str = "w1", by: str = "ada") -> None:
    w.feed(e.OperatorWhispered(key=key, by=by, text=text))


def say(w: World, text: str = "The kitchen is closed today.", when: str = "now", key: str = "s1") -> None:
    w.feed(e.OperatorSaid(key=key, by="ada", text=text, when=when))


def take_over(w: World, by: str = "ada", key: str = "t1") -> None:
    w.feed(e.OperatorTookOver(key=key, by=by))


def hand_back(w: World, by: str = "ada", key: str = "h1", summary: str = "The terrace is booked for 8.") -> None:
    w.feed(e.OperatorHandedBack(key=key, by=by, summary=summary))


def told(w: World) -> list[tuple[str, str, str, int]]:
    return [(x.action, x.outcome, x.key, x.turn) for x in w.of(Intervened)]


def shown(ask: AskModel) -> list[str]:
    return [message.text for message in ask.messages if message.text.startswith(history.WHISPER_NOTE)]


def speaking(profile: object = None, heard_ms: int = 1000) -> Watched:
    w = Watched(profile)  # type: ignore[arg-type]
    w.say("is there a table")
    w.model(LONG)
    w.voice()
    w.wait(heard_ms)
    return w


# --- whisper --------------------------------------------------------------------------------------------------------------


def test_a_note_is_before_the_model_at_its_next_request_and_in_no_later_turn() -> None:
    w = Watched()
    whisper(w)
    assert told(w) == []
    w.say("is there a table")
    assert shown(w.ask) == [f"{history.WHISPER_NOTE}\nOffer the terrace."]
    assert [message.role for message in w.ask.messages] == ["developer", "developer", "user"]
    assert told(w) == [("whisper", "shown", "w1", 1)]
    w.answer("Yes, on the terrace. ")
    w.wait(5000)
    w.say("and tomorrow")
    assert shown(w.ask) == []
    assert "terrace" not in "".join(m.text for m in w.ask.messages if m.role == "developer")


def test_a_note_for_a_guess_takes_effect_with_the_turn_or_goes_to_the_next_request() -> None:
    w = Watched()
    whisper(w)
    w.starts()
    w.feed(e.EagerEnd(text="is there"))
    assert len(shown(w.ask)) == 1
    assert told(w) == []
    w.feed(e.TurnResumed())
    assert [note.key for note in w.state.notes] == ["w1"]
    w.feed(e.EagerEnd(text="is there a table"))
    w.feed(e.TurnEnded(text="is there a table"))
    assert len(shown(w.ask)) == 1
    assert told(w) == [("whisper", "shown", "w1", 1)]


def test_a_note_is_with_every_request_of_its_turn() -> None:
    w = Watched()
    w.say("is there a table")
    whisper(w)
    assert shown(w.ask) == []
    w.model(tools=[("lookup", "{}")])
    w.settle_tools()
    assert len(shown(w.ask)) == 1
    w.model("Yes. ", tools=[("lookup", "{}")])
    w.settle_tools()
    assert len(shown(w.ask)) == 1
    assert told(w) == [("whisper", "shown", "w1", 1)]


def test_a_note_of_a_turn_that_nobody_heard_goes_to_the_next() -> None:
    w = Watched()
    whisper(w)
    w.say("is there")
    w.feed(e.TurnEnded(text="a table"))
    assert w.ask.turn == 1
    assert len(shown(w.ask)) == 1
    w.model(tools=[("lookup", "{}")])
    w.settle_tools()
    w.feed(e.TurnEnded(text="for two"))
    assert w.ask.turn == 2
    assert len(shown(w.ask)) == 1
    assert told(w)[-1] == ("whisper", "shown", "w1", 2)


def test_notes_that_came_to_nothing_are_told_as_that() -> None:
    w = Watched()
    whisper(w, text="  ")
    assert told(w) == [("whisper", "dropped", "w1", 0)]
    for number in range(MOST_WAITING + 1):
        whisper(w, key=f"n{number}")
    assert told(w)[-1] == ("whisper", "dropped", f"n{MOST_WAITING}", 0)
    w.feed(e.CarrierGone(how="stop"))
    assert [key for _, outcome, key, _ in told(w) if outcome == "dropped"][2:] == [f"n{i}" for i in range(MOST_WAITING)]
    whisper(w)
    assert w.commands[-1].__class__.__name__ == "StaleDropped"


# --- say ------------------------------------------------------------------------------------------------------------------


def test_a_sentence_for_now_stops_what_is_said_and_only_heard_words_count() -> None:
    w = speaking()
    heard = w.heard_words(1, w.now)
    epoch = w.state.epoch
    say(w)
    stopped = w.closed[-1]
    assert (stopped.outcome, stopped.heard_text.split()) == ("overridden", heard)
    assert {CancelModel, Clear} <= {type(c) for c in w.steps[-1][2]}
    assert w.state.epoch > epoch
    w.voice()
    w.wait(900)
    w.say("stop that")
    assert told(w) == [("say", "cut", "s1", 2)]
    said = w.closed[-1]
    assert (said.kind, said.outcome) == ("say", "interrupted")
    assert said.heard_text and "The kitchen is closed today.".startswith(said.heard_text)
    texts = [(m.role, m.text) for m in w.state.history]
    assert ("developer", history.OVERRIDDEN_NOTE) in texts
    assert ("assistant", said.heard_text) in texts


def test_a_sentence_that_is_heard_to_its_end_is_the_assistants() -> None:
    w = Watched()
    say(w, "  The kitchen\nis closed today. ")
    assert w.state.mode is Mode.THINKING
    w.voice()
    w.wait(6000)
    assert told(w) == [("say", "said", "s1", 1)]
    assert [(m.role, m.text) for m in w.state.history] == [("assistant", "The kitchen is closed today.")]


def test_a_sentence_for_the_next_pause_waits_for_the_last_word() -> None:
    w = speaking()
    say(w, when="next_pause")
    assert w.state.mode is Mode.SPEAKING
    w.wait(w.plays_until - w.now + 10)
    assert w.of(Say)[-1].text == "The kitchen is closed today."
    w.voice()
    w.wait(6000)
    assert [turn.outcome for turn in w.closed] == ["answered", "answered"]
    assert told(w) == [("say", "said", "s1", 2)]


def test_in_silence_a_sentence_is_said_at_once_and_a_second_after_it() -> None:
    w = Watched()
    say(w, when="next_pause")
    say(w, "And tomorrow too.", when="next_pause", key="s2")
    assert [c.text for c in w.of(Say)] == ["The kitchen is closed today."]
    w.voice()
    w.wait(4000)
    assert w.of(Say)[-1].text == "And tomorrow too."


def test_a_sentence_waits_for_the_callers_words_and_the_answer_to_them() -> None:
    w = Watched()
    w.starts()
    say(w, when="next_pause")
    assert w.of(Say) == []
    w.stops()
    w.wait(500)
    w.feed(e.WordsHeard(text="is there a table"))
    w.wait(1500)
    assert w.of(Say) == [], "the timer found words"
    w.feed(e.TurnEnded(text="is there a table"))
    w.answer("Yes. ")
    w.wait(3000)
    assert w.of(Say)[-1].text == "The kitchen is closed today."


def test_a_sound_without_words_delays_a_sentence_only() -> None:
    w = Watched()
    w.starts()
    w.stops()
    say(w, when="next_pause")
    assert w.of(Say) == []
    w.wait(1600)
    assert len(w.of(Say)) == 1


def test_a_television_does_not_hold_a_sentence_for_ever() -> None:
    w = Watched()
    w.starts()
    say(w, when="next_pause")
    w.wait(20_000)
    assert w.of(Say)[0].text == "The kitchen is closed today."


def test_a_sentence_of_which_nothing_was_heard_is_said_at_the_next_pause() -> None:
    w = Watched()
    say(w)
    w.starts()
    w.feed(e.WordsHeard(text="is there a table"))
    w.stops()
    w.feed(e.TurnEnded(text="is there a table"))
    assert w.closed[-1].outcome == "superseded"
    assert [saying.key for saying in w.state.sayings] == ["s1"]
    w.answer("Yes. ")
    w.wait(3000)
    w.voice()
    w.wait(4000)
    assert told(w) == [("say", "said", "s1", 3)]


def test_a_notice_is_heard_to_its_end_before_a_sentence_for_now() -> None:
    w = Watched(agent(greeting=NOTICE, greeting_interruptible=False))
    w.voice()
    say(w)
    assert len(w.of(Say)) == 1
    w.wait(6000)
    assert w.of(Say)[-1].text == "The kitchen is closed today."


def test_a_sentence_takes_the_agents_goodbye_back() -> None:
    w = Watched()
    w.say("goodbye")
    w.model("Goodbye and thank you for calling us. ", tools=[("end_call", "{}")])
    w.voice()
    w.wait(500)
    assert w.state.ending == "agent_hung_up"
    say(w)
    w.voice()
    w.wait(8000)
    assert w.of(HangUp) == []


def test_a_sentence_that_cannot_be_said_is_told_as_that() -> None:
    w = Watched()
    say(w, " ", key="empty")
    for number in range(MOST_WAITING + 1):
        w.starts()
        say(w, when="next_pause", key=f"n{number}")
    take_over(w)
    say(w, key="late")
    dropped = [key for action, outcome, key, _ in told(w) if (action, outcome) == ("say", "dropped")]
    assert dropped == ["empty", f"n{MOST_WAITING}", *(f"n{i}" for i in range(MOST_WAITING)), "late"]
    with pytest.raises(IllegalEvent, match="when 'later'"):
        say(w, when="later")


def test_a_sentence_whose_voice_fails_is_told_as_that() -> None:
    w = Watched()
    say(w)
    for _ in range(2):
        spoken = w.of(Say)[-1]
        w.feed(e.VoiceFailed(turn=spoken.turn, epoch=spoken.epoch, kind="cut"))
    w.wait(6000)
    assert told(w) == [("say", "failed", "s1", 1)]


def test_a_sentence_that_the_end_of_the_call_overtakes_is_dropped() -> None:
    w = Watched()
    say(w)
    w.feed(e.CarrierGone(how="stop"))
    assert told(w) == [("say", "dropped", "s1", 1)]
    w = Watched()
    w.feed(e.HangUpAsked(by="drain"))
    say(w)
    assert told(w) == [("say", "dropped", "s1", 1)]


# --- take over and hand back ------------------------------------------------------------------------------------------------


def test_the_assistant_is_silent_in_the_step_of_a_take_over() -> None:
    w = speaking()
    say(w, when="next_pause")
    heard = w.heard_words(1, w.now)
    take_over(w)
    assert w.state.phase is Phase.OPERATOR
    assert w.state.mode is Mode.OPERATOR
    assert w.state.operator == "ada"
    assert w.of(LendGate)[0].epoch == w.state.epoch
    assert (w.closed[-1].outcome, w.closed[-1].heard_text.split()) == ("overridden", heard)
    assert [timer.name for timer in w.state.timers] == ["max_call"]
    assert told(w) == [("say", "dropped", "s1", 1), ("take_over", "taken", "t1", 1)]
    assert not w.unplayed()


def test_what_the_caller_says_to_an_operator_is_on_record_and_nothing_else_happens() -> None:
    w = Watched()
    take_over(w)
    w.say("can I sit outside")
    w.feed(e.EagerEnd(text="and at"))
    w.feed(e.TurnResumed())
    w.starts()
    w.feed(e.WordsHeard(text="and at eight"))
    w.stops()
    w.wait(8000)
    w.feed(e.DtmfPressed(digit="5"))
    w.feed(e.DtmfPressed(digit="#"))
    w.wait(100)
    w.feed(e.TurnEnded(text=""))
    w.wait(120_000)
    turns = [(turn.turn, turn.kind, turn.outcome, turn.user_text) for turn in w.closed]
    assert turns == [
        (1, "operator", "with_operator", "can I sit outside"),
        (2, "operator", "with_operator", "and at eight"),
        (3, "operator", "with_operator", "(pressed on the keypad: 5#)"),
    ]
    assert [m.text for m in w.state.history if m.role == "user"] == [turn[3] for turn in turns]
    assert w.of(AskModel) == []
    assert w.of(Say) == []
    assert w.state.phase is Phase.OPERATOR


def test_silence_still_ends_a_turn_where_the_recogniser_does_not() -> None:
    w = Watched(agent(endpointing="silence"))
    take_over(w)
    w.starts()
    w.stops()
    w.wait(700)
    assert "FinalizeEar" in [type(c).__name__ for c in w.commands]


def test_words_that_waited_for_a_notices_end_are_on_record() -> None:
    w = Watched(agent(greeting=NOTICE, greeting_interruptible=False))
    w.voice()
    w.say("is there a table")
    take_over(w)
    assert (w.closed[-1].kind, w.closed[-1].user_text) == ("operator", "is there a table")


def test_a_function_that_runs_settles_while_an_operator_speaks() -> None:
    w = Watched()
    w.say("book a table")
    w.model(tools=[("book_table", "{}")])
    take_over(w)
    w.settle_tools('{"reference":"A1"}')
    assert [m.text for m in w.state.history if m.call_id] == ['{"reference":"A1"}']


def test_one_has_the_floor_and_only_they_hand_back() -> None:
    w = Watched()
    hand_back(w)
    take_over(w)
    take_over(w, by="bob", key="t2")
    take_over(w, key="t3")
    hand_back(w, by="bob", key="h2")
    assert [(key, outcome) for _, outcome, key, _ in told(w)] == [
        ("h1", "refused"), ("t1", "taken"), ("t2", "refused"), ("t3", "taken"), ("h2", "refused"),
    ]  # fmt: skip
    assert w.state.operator == "ada"


def test_after_a_hand_back_the_assistant_goes_on_from_the_summary_and_the_note() -> None:
    w = Watched(recall_ms=30)
    take_over(w)
    whisper(w)
    w.say("outside please")
    hand_back(w)
    assert w.of(TakeGateBack)
    assert w.state.phase is Phase.ACTIVE
    assert told(w)[-2:] == [("hand_back", "done", "h1", 1), ("whisper", "shown", "w1", 2)]
    assert [(m.role, m.text) for m in w.ask.messages[1:]] == [
        ("developer", history.TAKEN_OVER_NOTE),
        ("user", "outside please"),
        ("developer", history.HANDED_BACK_NOTE.format(summary="The terrace is booked for 8.")),
        ("developer", f"{history.WHISPER_NOTE}\nOffer the terrace."),
    ]
    assert w.of(Recall) == []
    w.answer("Your table is on the terrace. ")
    w.wait(5000)
    turn = w.closed[-1]
    assert (turn.kind, turn.outcome, turn.heard_text) == ("return", "answered", "Your table is on the terrace.")
    assert turn.speech_ended_ms == -1


@pytest.mark.parametrize("does", ["speaks", "has spoken", "presses keys"])
def test_a_caller_who_is_at_it_goes_first_after_a_hand_back(does: str) -> None:
    w = Watched()
    take_over(w)
    if does == "presses keys":
        w.feed(e.DtmfPressed(digit="5"))
    else:
        w.starts()
        if does == "has spoken":
            w.feed(e.WordsHeard(text="and at eight"))
            w.stops()
    hand_back(w)
    assert w.of(AskModel) == []
    if does == "speaks":
        w.feed(e.TurnEnded(text="and at eight"))
    w.wait(8000)
    assert [m.text for m in w.ask.messages if m.role == "user"]


def test_a_lost_operator_has_a_grace() -> None:
    w = Watched()
    take_over(w)
    w.feed(e.OperatorConnected(by="ada", on=False))
    w.feed(e.OperatorConnected(by="ada", on=False))
    w.wait(9000)
    w.feed(e.OperatorConnected(by="ada", on=True))
    w.feed(e.OperatorConnected(by="bob", on=False))
    w.wait(20_000)
    assert w.state.operator == "ada"
    w.feed(e.OperatorConnected(by="ada", on=False))
    w.wait(5000)
    take_over(w, key="t2")
    w.wait(20_000)
    assert w.state.operator == "ada"
    w.feed(e.OperatorConnected(by="ada", on=False))
    w.wait(10_000)
    assert w.state.phase is Phase.ACTIVE
    assert told(w)[-1] == ("hand_back", "lost", "", 0)
    assert w.of(Say)[-1].text == RETURNS["en"]
    assert w.state.history[-1].text == history.LOST_NOTE


def test_the_longest_call_ends_when_it_is_the_assistants_again() -> None:
    w = Watched(agent(max_call_ms=60_000))
    take_over(w)
    w.wait(200_000)
    assert w.state.phase is Phase.OPERATOR
    hand_back(w)
    w.wait(30_000)
    assert w.state.ending == "max_duration"


@pytest.mark.parametrize(("final", "away_ms"), [(True, 3000), (False, 3000), (False, 0)])
@pytest.mark.parametrize("back", [hand_back, lambda w: w.feed(e.OperatorConnected(by="ada", on=False))])
def test_a_recogniser_that_failed_meanwhile(final: bool, away_ms: int, back: object) -> None:
    w = Watched(agent(ear_away_ms=away_ms))
    take_over(w)
    w.feed(e.EarFailed(kind="cut", final=final))
    w.wait(20_000)
    assert w.state.phase is Phase.OPERATOR
    back(w)  # type: ignore[operator]
    w.wait(10_000)
    assert (w.state.ending == "ear_failed") is final
    assert w.state.phase is not Phase.OPERATOR


def test_a_recogniser_that_is_there_again_is_forgotten() -> None:
    w = Watched()
    take_over(w)
    w.feed(e.EarFailed(kind="cut"))
    w.feed(e.EarReady())
    hand_back(w)
    assert [timer.name for timer in w.state.timers] == ["max_call", "reply", "patience"]


def test_a_goodbye_of_the_agent_is_off_when_an_operator_takes_over_and_a_drain_is_not() -> None:
    w = Watched()
    w.say("goodbye")
    w.model("Goodbye and thank you for calling us. ", tools=[("end_call", "{}")])
    w.voice()
    take_over(w)
    w.wait(60_000)
    assert w.of(HangUp) == []
    w.feed(e.HangUpAsked(by="drain"))
    assert w.state.phase is Phase.ACTIVE
    take_over(w, key="t2")
    assert told(w)[-1] == ("take_over", "refused", "t2", w.state.turn)
    w.wait(60_000)
    assert w.end_reason == "drain"


# --- listening and the end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [*Phase])
def test_listening_is_recorded_and_changes_nothing(phase: Phase) -> None:
    w = Watched()
    match phase:
        case Phase.CONNECTING:
            w.state = State()
        case Phase.OPERATOR:
            take_over(w)
        case Phase.ENDING:
            w.feed(e.HangUpAsked(by="operator"))
        case Phase.ENDED:
            w.feed(e.CarrierGone(how="stop"))
        case Phase.ACTIVE:
            pass
    assert w.state.phase is phase
    before = w.state
    w.feed(e.OperatorListening(by="ada", on=True))
    assert w.state == before


def test_an_operator_ends_a_call_with_a_sentence_that_cannot_be_interrupted() -> None:
    w = speaking()
    w.feed(e.HangUpAsked(by="operator", operator="ada", why="abuse", text="I have to end this call. Goodbye."))
    assert w.closed[-1].outcome == "overridden"
    w.voice()
    w.wait(500)
    w.say("wait")
    w.wait(20_000)
    assert w.end_reason == "operator"
    assert w.closed[-1].heard_text == "I have to end this call. Goodbye."
    w = speaking()
    w.feed(e.HangUpAsked(by="operator", operator="ada", why="abuse", text="I have to end this call. Goodbye."))
    w.feed(e.HangUpAsked(by="operator", operator="ada", why="abuse", text="I have to end this call. Goodbye."))
    assert w.of(HangUp)[0].reason == "operator"


@pytest.mark.parametrize("text", ["", "Goodbye."])
def test_an_operator_who_has_the_floor_ends_the_call(text: str) -> None:
    w = Watched()
    take_over(w)
    w.feed(e.HangUpAsked(by="operator", operator="ada", why="settled", text=text))
    assert w.of(TakeGateBack)
    w.wait(20_000)
    assert w.end_reason == "operator"


def test_a_caller_who_hangs_up_on_an_operator_ends_the_call() -> None:
    w = Watched()
    take_over(w)
    whisper(w)
    w.feed(e.CarrierGone(how="stop"))
    assert w.end_reason == "caller_hung_up"
    assert w.of(TakeGateBack)
    assert told(w)[-1] == ("whisper", "dropped", "w1", 0)
