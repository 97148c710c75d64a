"""The checker finds what is wrong and nothing else: a good call, then one defect after the other put into one step of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from calls.core import commands as c
from calls.core import events as e
from calls.core.commands import Message, ToolCallItem
from calls.core.machine import step
from calls.core.state import Mode, Phase, State, Work
from calls.replay.invariants import Books, Checker, Invariant, Violation, inspect
from calls.replay.ledger import flaws
from tests.unit.core.fuzz import random_call
from tests.unit.core.world import World, agent

ISOLATION, BARGE_IN, ONCE, HEARD, DEAD, TOOLS = list(Invariant)[:6]


class Taken(NamedTuple):
    """A step as a checker is shown it."""

    before: State
    event: e.Event
    commands: tuple[c.Command, ...]
    after: State

    def has(self, kind: type) -> bool:
        """Whether the event or a command is of this kind."""
        return any(isinstance(value, kind) for value in (self.event, *self.commands))


MEMORY = e.Recalled(id="m1", level="L2", kind="preference", text="by the window")


def a_call() -> list[Taken]:
    """A greeting, an interrupted answer, a booking, a held reply, a noise, a goodbye."""
    w = World(agent(greeting="Hello, how can I help you today?"), recall_ms=30)
    w.voice()
    w.wait(9000)
    w.say("is there a table")
    w.recall(MEMORY)
    w.feed(e.CardLoaded(name="Maria", text="by the window"))
    w.answer("We have one by the window, and another one by the door. ")
    w.wait(900)
    w.say("the window please")
    w.wait(40)
    w.recall(MEMORY)
    w.model("I book it. ", tools=[("book_table", '{"name":"Doe"}')])
    w.voice()
    w.wait(100)
    w.settle_tools()
    w.answer("It is yours. ")
    w.wait(700)
    w.starts()
    w.wait(200)
    w.stops()
    w.wait(1500)
    w.voice()
    w.wait(9000)
    w.starts()
    w.feed(e.EagerEnd(text="thanks and goodbye"))
    w.recall()
    w.stops()
    w.feed(e.TurnEnded(text="thanks and goodbye"))
    w.model("Goodbye. ", tools=[("end_call", "{}")])
    w.voice()
    w.wait(9000)
    w.feed(e.CarrierGone(how="stop"))
    assert w.over
    return [Taken(*taken) for taken in w.steps]


CALL = a_call()


def judged(steps: list[Taken]) -> list[tuple[int, Invariant]]:
    checker = Checker()
    return [(at, found.invariant) for at, taken in enumerate(steps) for found in checker.collect(*taken)]


def test_a_good_call_breaks_nothing() -> None:
    assert judged(CALL) == []


# --- one defect -------------------------------------------------------------------------------------------------------

Defect = Callable[[Taken], Taken]


def without(kind: type) -> Defect:
    return lambda t: t._replace(commands=tuple(x for x in t.commands if not isinstance(x, kind)))


def twice(kind: type) -> Defect:
    return lambda t: t._replace(
        commands=tuple(x for y in t.commands for x in ((y, y) if isinstance(y, kind) else (y,)))
    )


def changed(kind: type, **changes: Any) -> Defect:
    return lambda t: t._replace(commands=tuple(replace(x, **changes) if isinstance(x, kind) else x for x in t.commands))


def more(*commands: c.Command) -> Defect:
    return lambda t: t._replace(commands=(*t.commands, *commands))


def state(**changes: Any) -> Defect:
    return lambda t: t._replace(after=replace(t.after, **changes))


def reply(**changes: Any) -> Defect:
    return lambda t: t._replace(after=replace(t.after, reply=replace(t.after.reply, **changes)))  # type: ignore[type-var]


def at(kind: type, **wanted: Any) -> Callable[[Taken], bool]:
    """The step with such an event or command whose state before or after has these values."""

    def fits(t: Taken) -> bool:
        return t.has(kind) and all(getattr(t.before if n[0] == "b" else t.after, n[2:]) == v for n, v in wanted.items())

    return fits


def speaking(t: Taken) -> bool:
    return isinstance(t.event, e.SpeechStarted) and t.before.mode is Mode.SPEAKING


def stale(t: Taken) -> bool:
    return isinstance(t.event, e.MarkReturned) and t.has(c.StaleDropped)


def answered(t: Taken) -> bool:
    """The reply to the caller's turn is begun, and its model asked."""
    return isinstance(t.event, e.MemoryRecalled) and t.has(c.AskModel)


def committed(t: Taken) -> bool:
    """The caller's turn ends and its reply is begun."""
    return isinstance(t.event, e.TurnEnded) and t.has(c.Recall)


def held(t: Taken) -> bool:
    return t.after.cut is not None and t.before.cut is not None and isinstance(t.event, e.SpeechEnded)


def drafted(t: Taken) -> bool:
    return isinstance(t.event, e.EagerEnd)


def says_goodbye(t: Taken) -> bool:
    return bool(t.after.ending) and t.after.phase is Phase.ACTIVE and t.after is not t.before


def quiet(t: Taken) -> bool:
    """Nobody has the floor any more."""
    return t.has(c.TurnClosed) and t.after.reply is None and t.after.phase is Phase.ACTIVE


def late_memory(t: Taken) -> bool:
    return isinstance(t.event, e.MemoryRecalled) and t.has(c.StaleDropped)


UNSURE = c.RunTool(1, "x", "pay", "{}", "k", 8000)
DEFECTS: dict[str, tuple[Callable[[Taken], bool], Defect, Invariant]] = {
    "a stale mark changes something": (stale, state(turn=77), ISOLATION),
    "a stale mark makes a command": (stale, more(c.FinalizeEar()), ISOLATION),
    "no clear": (speaking, without(c.Clear), BARGE_IN),
    "no cancel of the model": (speaking, without(c.CancelModel), BARGE_IN),
    "no cancel of the voice": (speaking, without(c.CancelVoice), BARGE_IN),
    "the wrong epoch is cleared": (speaking, changed(c.Clear, epoch=0), BARGE_IN),
    "a gate opened for a dead epoch": (at(c.Clear), more(c.OpenGate(1, 1)), BARGE_IN),
    "a phrase in a dead epoch": (at(c.Clear), more(c.PlayPhrase(1, 1, "trouble")), BARGE_IN),
    "tones in a dead epoch": (at(c.Clear), more(c.PlayTones(1, 1, "5")), BARGE_IN),
    "words in a dead epoch": (at(c.Clear), more(c.Say(1, 1, "and")), BARGE_IN),
    "a request for a cleared epoch": (
        at(c.Clear), more(c.AskModel(1, 1, (Message("developer", "x"),))), BARGE_IN,
    ),
    "two requests": (answered, twice(c.AskModel), ONCE),
    "no request": (answered, without(c.AskModel), DEAD),
    "a request that goes on": (at(e.ModelFinished), reply(model=Work.RUNNING), DEAD),
    "a request cancelled and believed in": (answered, more(c.CancelModel(1, 99)), DEAD),
    "words that the voice never got": (at(c.Say), without(c.Say), HEARD),
    "words that the voice got twice": (at(c.Say), twice(c.Say), HEARD),
    "the last word said twice": (at(c.EndSay), twice(c.EndSay), ONCE),
    "words after the last": (at(c.EndSay), lambda t: more(c.Say(0, t.after.epoch, "and"))(t), ONCE),
    "a last word without a first": (answered, lambda t: more(c.EndSay(1, t.after.epoch))(t), ONCE),
    "a last word that was never said to be one": (at(c.EndSay), without(c.EndSay), HEARD),
    "a turn closed twice": (at(c.TurnClosed), twice(c.TurnClosed), ONCE),
    "a turn closed out of order": (at(c.TurnClosed, b_turn=1), changed(c.TurnClosed, turn=0), ONCE),
    "a turn with an outcome of its own": (at(c.TurnClosed), changed(c.TurnClosed, outcome="fine"), ONCE),
    "a turn that is lost": (at(c.TurnClosed), without(c.TurnClosed), ONCE),
    "a turn closed and current": (
        answered, lambda t: more(replace(A_TURN, turn=t.after.turn))(t), ONCE,
    ),
    "a reply beside a stopped one": (
        answered, lambda t: state(cut=replace(t.after.reply, epoch=1))(t), ONCE,
    ),
    "what the caller said is lost": (committed, reply(user_text=""), ONCE),
    "more heard than generated": (at(c.TurnClosed), changed(c.TurnClosed, heard_text="Nonsense"), HEARD),
    "more in the history than heard": (
        quiet, lambda t: state(history=(*t.after.history, Message("assistant", "Nonsense")))(t), HEARD,
    ),
    "a history that shrinks": (quiet, state(history=()), HEARD),
    "a history rewritten": (
        at(e.ToolSettled),
        lambda t: state(history=tuple(replace(m, role="tool") for m in t.after.history))(t),
        HEARD,
    ),
    "a mode of its own": (quiet, state(mode=Mode.SPEAKING), DEAD),
    "a timer that nobody set": (at(c.SetTimer), without(c.SetTimer), DEAD),
    "a timer in the past": (at(e.SpeechEnded), more(c.SetTimer("idle", 1, 0)), DEAD),
    "a timer that nobody stopped": (at(c.CancelTimer), without(c.CancelTimer), DEAD),
    "a timer stopped twice": (at(c.CancelTimer), twice(c.CancelTimer), DEAD),
    "a timer spent and believed in": (
        at(e.TimerFired), lambda t: state(timers=t.before.timers)(t), DEAD,
    ),
    "silence without a prompt": (quiet, state(timers=()), DEAD),
    "a reply without a watch": (answered, state(timers=()), DEAD),
    "a stopped reply without a verdict": (held, state(timers=()), DEAD),
    "a guess without an end": (drafted, state(timers=()), DEAD),
    "a goodbye that may last for ever": (says_goodbye, state(timers=()), DEAD),
    "a goodbye that nobody says": (says_goodbye, state(reply=None), DEAD),
    "a hang-up without a grace": (at(c.HangUp), state(timers=()), DEAD),
    "a function that nobody ran": (at(c.RunTool), without(c.RunTool), TOOLS),
    "a function that ran twice": (at(c.RunTool), twice(c.RunTool), TOOLS),
    "a function that settled and runs": (
        at(e.ToolSettled), lambda t: state(running_tools=t.before.running_tools)(t), TOOLS,
    ),
    "a function nobody knows": (at(c.RunTool), changed(c.RunTool, name="nonsense"), TOOLS),
    "a function without an agent": (at(c.RunTool), state(agent=None), TOOLS),
    "a function from a guess": (drafted, more(UNSURE), TOOLS),
    "a function from a held reply": (at(c.RunTool), reply(held=True), TOOLS),
    "a function without a reply": (quiet, more(UNSURE), TOOLS),
    "a payment while the caller speaks": (
        at(c.RunTool),
        lambda t: state(caller=replace(t.after.caller, speaking=True))(changed(c.RunTool, name="pay")(t)),
        TOOLS,
    ),
    "a cancel of nothing": (answered, more(c.CancelTool("x")), TOOLS),
    "a hang-up for no reason": (at(c.HangUp), changed(c.HangUp, reason="because"), ONCE),
    "an end for no reason": (at(c.EndCall), changed(c.EndCall, reason="because"), ONCE),
    "an end without a word": (at(c.EndCall), without(c.EndCall), ONCE),
    "an end that is none": (answered, more(c.EndCall("drain")), ONCE),
    "a command after the end": (at(c.EndCall), more(c.FinalizeEar()), ONCE),
    "a turn open after the end": (
        at(c.EndCall), lambda t: state(cut=replace(A_REPLY, turn=99))(t), ONCE,
    ),
    "no recall": (at(c.Recall), without(c.Recall), DEAD),
    "two recalls": (at(c.Recall), twice(c.Recall), ONCE),
    "a recall for a cleared epoch": (at(c.Clear), more(c.Recall(1, 1, "x", 30)), BARGE_IN),
    "a recall while the model is asked": (
        at(e.MemoryRecalled), lambda t: more(c.Recall(1, t.after.epoch, "x", 30))(t), ONCE,
    ),
    "a request that does not wait for the memory": (
        at(c.Recall), lambda t: more(c.AskModel(1, t.after.epoch, (Message("developer", "x"),)))(t), ONCE,
    ),
    "a recall cancelled and believed in": (at(c.Recall), more(c.CancelModel(1, 99)), DEAD),
    "a recall without a deadline": (at(c.Recall), state(timers=()), DEAD),
    "a recall over and believed in": (at(e.MemoryRecalled), reply(recall=Work.RUNNING), DEAD),
    "a recall in time and nobody asked": (at(e.MemoryRecalled), without(c.AskModel), DEAD),
    "a late memory changes something": (late_memory, state(failures=5), ISOLATION),
    "a card changes more than the card": (at(e.CardLoaded), state(failures=5), ISOLATION),
    "a card asks for something": (at(e.CardLoaded), more(c.FinalizeEar()), ISOLATION),
    "a function that runs after the end": (at(c.EndCall), state(running_tools=("x",)), TOOLS),
}  # fmt: skip
A_TURN = next(x for t in CALL for x in t.commands if isinstance(x, c.TurnClosed))
A_REPLY = next(t.after.reply for t in CALL if t.after.reply is not None and t.after.reply.confirmed)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_at_its_step_and_named(name: str) -> None:
    where, defect, invariant = DEFECTS[name]
    place = next(place for place, taken in enumerate(CALL) if where(taken))
    steps = [*CALL[:place], defect(CALL[place])]
    assert steps[-1] != CALL[place]
    found = judged(steps)
    assert (place, invariant) in found
    assert {at for at, _ in found} == {place}
    checker = Checker()
    with pytest.raises(Violation, match=f"^{found[0][1].words}: ") as raised:
        for taken in steps:
            checker.watch(*taken)
    assert raised.value.invariant is found[0][1]


def test_a_violation_drags_no_others_after_it() -> None:
    place = next(place for place, taken in enumerate(CALL) if at(c.CancelTimer)(taken))
    steps = [*CALL[:place], without(c.CancelTimer)(CALL[place]), *CALL[place + 1 :]]
    assert {at for at, _ in judged(steps)} == {place}


# --- what is no violation ---------------------------------------------------------------------------------------------


def test_a_back_channel_over_speech_may_be_let_go() -> None:
    w = World()
    w.say("is there a table")
    w.answer("We have one by the window, and another one by the door. ")
    w.wait(500)
    checker = Checker()
    w.feed(e.TurnEnded(text="mhm"))
    assert all(not checker.collect(*taken) for taken in w.steps)
    last = Taken(*w.steps[-1])
    assert inspect(checker.books, *last._replace(before=replace(last.before, reply=None)))[1]


def test_outside_a_call_nothing_is_asked_of_a_turn() -> None:
    ended = CALL[-1].after
    for before in (State(), ended):
        for event in (e.TurnEnded(text="anybody there"), e.ModelText(turn=1, epoch=1, text="x")):
            books, found = inspect(Books(), before, event, (), replace(before, failures=5))
            assert (books, found) == (Books(), ())


def test_events_after_the_end_only_count() -> None:
    checker, last = Checker(), CALL[-1].after
    for event in (e.ToolSettled(call_id="x", outcome="ok", output="{}"), e.TimerFired(timer="idle", key=1)):
        after, commands = step(last, event)
        assert checker.collect(last, event, commands, after) == ()
    assert [x.invariant for x in checker.collect(last, event, (c.Clear(9),), last)] == [ONCE]


def test_a_timer_that_is_late_spends_nothing() -> None:
    before = CALL[0].after
    event = e.TimerFired(timer="max_call", key=99)
    after, commands = step(before, event)
    assert inspect(Books(), before, event, commands, after)[1] == ()


def test_a_call_that_never_began_ends_too() -> None:
    event = e.CarrierGone(how="closed")
    after, commands = step(State(), event)
    assert inspect(Books(), State(), event, commands, after)[1] == ()


# --- requests ---------------------------------------------------------------------------------------------------------

DEVELOPER, USER = Message("developer", "Be brief."), Message("user", "a table")
CALL_A, OUTPUT_A = Message("assistant", tool_calls=(ToolCallItem("a", "f", "{}"),)), Message("tool", "{}", call_id="a")
CALL_AB = Message("assistant", tool_calls=(ToolCallItem("a", "f", "{}"), ToolCallItem("b", "f", "{}")))


@pytest.mark.parametrize(
    ("messages", "invariants"),
    [
        ((DEVELOPER, USER, CALL_A, OUTPUT_A), []),
        ((), [TOOLS]),
        ((USER,), [TOOLS]),
        ((DEVELOPER, CALL_A), [TOOLS]),
        ((DEVELOPER, OUTPUT_A), [TOOLS]),
        ((DEVELOPER, CALL_A, USER, OUTPUT_A), [TOOLS, TOOLS]),
        ((DEVELOPER, CALL_A, OUTPUT_A, CALL_A, OUTPUT_A), [TOOLS]),
        ((DEVELOPER, CALL_AB, OUTPUT_A), [TOOLS]),
        ((DEVELOPER, Message("user", " ")), [HEARD]),
    ],
)
def test_a_request_must_be_one_that_a_vendor_admits(messages: tuple[Message, ...], invariants: list[Invariant]) -> None:
    assert [violation.invariant for violation in flaws(messages)] == invariants


# --- the checker as a value -------------------------------------------------------------------------------------------


def test_a_copy_goes_on_by_itself() -> None:
    checker = Checker()
    half = len(CALL) // 2
    for taken in CALL[:half]:
        checker.watch(*taken)
    copy = checker.copy()
    assert copy.key() == checker.key()
    assert hash(copy.key()) == hash(checker.key())
    for taken in CALL[half:]:
        copy.watch(*taken)
    assert copy.key() != checker.key()
    again = Checker(checker.books)
    for taken in CALL[half:]:
        again.watch(*taken)
    assert again.key() == copy.key()


def test_the_names_are_those_people_use() -> None:
    assert [invariant.words for invariant in Invariant] == [
        "turn isolation",
        "immediate barge-in",
        "exactly once",
        "heard truth",
        "no dead state",
        "tools settle",
        "replay",
    ]
    assert [int(invariant) for invariant in Invariant] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_random_calls_break_nothing(seed: int) -> None:
    assert judged([Taken(*taken) for taken in random_call(seed).steps]) == []
