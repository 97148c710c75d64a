"""Every scenario again under random interleavings that keep each source's own order: 40 in `make test`, 1,000 in `make test-long`.

A story is a scenario taken apart: how it comes about, what each source (detector, recogniser, model, voice, tools,
carrier) then does in its own order, and what must hold however these are shuffled and whatever time lies between them.
The invariants are checked after every step besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from calls.core import events as e
from calls.core.commands import AskModel, Clear, HangUp, Intervened, PlayPhrase, Recall, RunTool, Say
from calls.core.policy import AgentProfile
from calls.core.state import Phase
from calls.replay.ledger import request_of
from tests.unit.core.fuzz import MEMORIES, Watched
from tests.unit.core.world import agent

if TYPE_CHECKING:
    from tests.unit.core.world import World

pytestmark = pytest.mark.search

ORDERS = 1_000
#: In `make test`.
QUICK_ORDERS = 40
GAPS_MS = (0, 0, 0, 1, 20, 100, 300)
LONG = "We have a table for two at seven and another one at eight, both are by the window. "

OPERATORS = (e.OperatorWhispered, e.OperatorSaid, e.OperatorTookOver, e.OperatorHandedBack)
Act = Callable[["World"], Any]


# --- what sources do --------------------------------------------------------------------------------------------------


def starts(w: World) -> None:
    w.starts()


def stops(w: World) -> None:
    w.stops()


def opened(w: World) -> None:
    w.feed(e.TurnOpened())


def words(text: str) -> Act:
    return lambda w: w.feed(e.WordsHeard(text=text))


def eager(text: str) -> Act:
    return lambda w: w.feed(e.EagerEnd(text=text))


def final(text: str) -> Act:
    return lambda w: w.feed(e.TurnEnded(text=text))


def recogniser(text: str) -> tuple[Act, ...]:
    return opened, words(text), final(text)


DETECTOR: tuple[Act, ...] = (starts, stops)


def model(*texts: str, tools: tuple[str, ...] = (), finish: str = "stop") -> Act:
    """The model answers the request that is in flight, if one is."""

    def act(w: World) -> None:
        if asked(w):
            w.model(*texts, tools=[(name, "{}") for name in tools], finish=finish)

    return act


def early_goodbye(w: World) -> None:
    """The model ends the call in its answer to the first half of what the caller says."""
    if w.ask.epoch == 1:
        model("Goodbye! ", tools=("end_call",))(w)


def voice(w: World) -> None:
    """The voice speaks what it has been given."""
    if w.of(Say):
        w.voice()


def old_audio(w: World) -> None:
    """Audio of the first epoch, however late."""
    w.audio(1, 1, 1600)


def old_end(w: World) -> None:
    w.feed(e.VoiceFinished(turn=1, epoch=1))


def old_token(w: World) -> None:
    w.feed(e.ModelText(turn=1, epoch=1, text="An early answer. "))


def error(w: World) -> None:
    w.feed(e.ErrorRaised(where="CancelVoice", error="RuntimeError"))


def tools_settle(w: World) -> None:
    w.settle_tools('{"reference":"A1"}')


def asked(w: World) -> bool:
    return request_of(w.state.reply) is not None


def recalled(w: World) -> None:
    """The memory answers the latest recall, in time or not."""
    if w.of(Recall):
        w.recall(*MEMORIES)


def first_recalled(w: World) -> None:
    """The memory answers the first recall, however late."""
    if w.of(Recall):
        w.recall_of(w.of(Recall)[0], OLD)


def card(w: World) -> None:
    w.feed(e.CardLoaded(name="Maria", text="vegetarian"))


def whisper(w: World) -> None:
    w.feed(e.OperatorWhispered(key="w", by="ada", text="Offer the terrace."))


def say_now(w: World) -> None:
    w.feed(e.OperatorSaid(key="s", by="ada", text="The kitchen closes at ten.", when="now"))


def take_over(w: World) -> None:
    w.feed(e.OperatorTookOver(key="t", by="ada"))


def hand_back(w: World) -> None:
    w.feed(e.OperatorHandedBack(key="h", by="ada", summary="It is settled."))


def gone(w: World) -> None:
    w.feed(e.CarrierGone(how="stop"))


# --- what holds in the end --------------------------------------------------------------------------------------------


def users(w: World) -> str:
    """All that the model was told the caller said."""
    return " ".join(message.text for message in w.ask.messages if message.role == "user")


def outcomes(w: World, kind: str = "answer") -> list[str]:
    return [turn.outcome for turn in w.closed if turn.kind == kind]


def answered_after_interruption(text: str) -> Act:
    """The first reply was stopped, and the caller's words have an answer that was heard."""

    def check(w: World) -> None:
        assert w.of(Clear)
        assert outcomes(w)[0] == "interrupted"
        assert outcomes(w)[-1] == "answered"
        assert text in users(w)

    return check


def never_heard(text: str) -> Act:
    def check(w: World) -> None:
        assert text not in " ".join(turn.heard_text for turn in w.closed)
        assert outcomes(w)[-1] == "answered"

    return check


def all_said(*texts: str) -> Act:
    """Each of the caller's texts reached the model, once."""

    def check(w: World) -> None:
        assert [users(w).count(text) for text in texts] == [1] * len(texts)
        assert outcomes(w)[-1] == "answered"

    return check


def heard_whole(text: str) -> Act:
    """The reply went on after the stop and was heard to its end, none of it twice."""

    def check(w: World) -> None:
        turn = next(turn for turn in w.closed if turn.kind == "answer")
        assert (turn.outcome, turn.heard_text) == ("answered", text.strip())
        assert len(w.of(AskModel)) == 1

    return check


def no_hang_up(w: World) -> None:
    assert w.of(HangUp) == []
    assert w.state.phase is Phase.ACTIVE


def ran_once(w: World) -> None:
    assert len(w.of(RunTool)) == 1
    assert w.state.running_tools == ()
    assert outcomes(w)[-1] == "answered"
    assert [message.text for message in w.state.history if message.call_id] == ['{"reference":"A1"}']


def settled(w: World) -> None:
    assert w.state.running_tools == ()
    assert outcomes(w)[-1] == "answered"


def goodbye_heard(w: World) -> None:
    assert [command.reason for command in w.of(HangUp)] == ["agent_hung_up"]
    assert w.end_reason == "agent_hung_up"
    assert next(turn for turn in w.closed if turn.kind == "answer").heard_text == "Thank you, goodbye."


def waited_for_the_last_mark(w: World) -> None:
    """No prompt before the idle time has passed since the last heard sample."""
    turn = next(turn for turn in w.closed if turn.kind == "answer")
    prompts = [step[1].at_ms for step in w.steps if any(isinstance(c, Say) and "there?" in c.text for c in step[2])]
    assert all(at_ms >= turn.closed_ms + 9000 for at_ms in prompts)


def unheard_words_only(w: World) -> None:
    assert outcomes(w)[0] == "answered"
    assert w.closed[0].heard_text == "one two three four five six seven eight."


def remembered(*texts: str) -> Act:
    """As ``all_said``; no request waited longer than for its recall, and none shows what was recalled for another."""

    def check(w: World) -> None:
        all_said(*texts)(w)
        assert {ask.epoch for ask in w.of(AskModel)} <= {recall.epoch for recall in w.of(Recall)}
        for before, event, commands, _ in w.steps:
            for ask in (command for command in commands if isinstance(command, AskModel)):
                first = ask.epoch == w.of(Recall)[0].epoch
                assert first or OLD.text not in "".join(message.text for message in ask.messages)
                if isinstance(event, e.TimerFired) and event.timer == "recall":
                    due = next(timer.due_ms for timer in before.timers if timer.name == "recall")
                    assert event.at_ms == due

    return check


def nothing_asked_after_the_end(w: World) -> None:
    assert w.end_reason == "caller_hung_up"
    assert not w.timers


def everything_told(w: World) -> None:
    """Each request of an operator that does not wait still has its outcome, once where it is final."""
    asked = [event.key for _, event, _, _ in w.steps if isinstance(event, OPERATORS)]
    told = [command.key for command in w.of(Intervened)]
    waiting = [text.key for text in (*w.state.notes, *w.state.sayings)]
    assert {*asked} == {*told, *waiting}
    assert all(told.count(key) == 1 for key in ("s", "t", "h") if key in told)


def words_on_record(text: str) -> Act:
    """However the take-over came to lie: the caller's words are in the history once, and nothing is left of the floor."""

    def check(w: World) -> None:
        said = [message.text for message in w.state.history if message.role == "user"]
        assert " ".join(said).count(text) == 1
        assert w.state.operator == ""
        assert w.state.phase is Phase.ACTIVE

    return check


def bounded(w: World) -> None:
    assert w.of(PlayPhrase)
    assert outcomes(w)[0] == "failed_to_fallback"


# --- the stories ------------------------------------------------------------------------------------------------------


def asking(text: str = "is there a table") -> Act:
    return lambda w: w.say(text)


def speaking(text: str = LONG, *, heard_ms: int = 1000, finish: str = "stop") -> Act:
    def setup(w: World) -> None:
        w.say("is there a table")
        w.model(text, finish=finish)
        w.voice()
        w.wait(heard_ms)

    return setup


def then(*acts: Act) -> Act:
    def setup(w: World) -> None:
        for act in acts:
            act(w)

    return setup


AGENT = agent()
OLD = e.Recalled(id="m0", level="L2", kind="fact", text="an old memory")


@dataclass(frozen=True)
class Story:
    """A scenario taken apart."""

    setup: Act
    sources: tuple[tuple[Act, ...], ...]
    check: Act
    profile: AgentProfile = AGENT
    #: Whether somebody answers in the end; off where it matters that nobody does.
    finish: bool = True
    recall_ms: int = 0


NO = recogniser("no, tomorrow")
NOTICE = agent(greeting="This call is recorded. How can I help you? ", greeting_interruptible=False)

STORIES: dict[str, Story] = {
    "A1": Story(speaking(), (DETECTOR, NO, (old_audio, old_end)), answered_after_interruption("no, tomorrow")),
    "A2": Story(
        then(asking("goodbye"), lambda w: w.model("Goodbye and thank you for the call. ", tools=[("end_call", "{}")]), voice),
        ((starts, *recogniser("wait a moment"), stops),),
        no_hang_up,
    ),
    "A3": Story(
        then(asking(), model("Yes, there is one. ")),
        (DETECTOR, recogniser("for four people"), (old_audio, old_audio, old_end)),
        all_said("for four people"),
    ),
    "A4": Story(
        speaking(finish=""), (DETECTOR, NO, (old_audio, old_audio, old_audio), (old_token,)),
        answered_after_interruption("no, tomorrow"),
    ),
    "B1": Story(speaking(), (DETECTOR, NO, (old_token, model("Tomorrow. "))), answered_after_interruption("no, tomorrow")),
    "B2": Story(
        then(speaking("Yes, there is. ", heard_ms=600), lambda w: w.wait(w.plays_until - w.now - 1)),
        (DETECTOR, recogniser("and at eight"), (lambda w: w.wait(1),)),
        all_said("and at eight"),
    ),
    "B3": Story(speaking(heard_ms=0), (DETECTOR, NO), answered_after_interruption("no, tomorrow")),
    "C1": Story(
        asking("I want a table"),
        ((final("for two"),), (model("For how many? "), voice)),
        all_said("I want a table", "for two"),
    ),
    "C2": Story(
        then(starts, words("I want"), stops, lambda w: w.wait(6900)),
        ((lambda w: w.wait(200), model("Yes? "), voice), (final("I want a table for two"),)),
        all_said("I want", "a table for two"),
    ),
    "C4": Story(
        starts,
        (
            (*(eager("I would like a table for two"[:n]) for n in (1, 7, 12, 14, 20, 24)), final("I would like a table")),
            (old_token, old_audio, old_token),
            (stops,),
        ),
        never_heard("early answer"),
    ),
    "D1": Story(speaking(), (DETECTOR, (old_audio,)), heard_whole(LONG)),
    "D3": Story(
        then(asking("my name is John"), model("Hello John, ")),
        (DETECTOR, recogniser("Doe"), (voice,)),
        all_said("my name is John", "Doe"),
    ),
    "D4": Story(speaking(), (DETECTOR, NO, (error, error)), answered_after_interruption("no, tomorrow")),
    "D6": Story(
        voice,
        ((starts, stops, starts, stops), (*recogniser("I want a table"), *recogniser("for two"))),
        all_said("I want a table", "for two"),
        NOTICE,
    ),
    "E1": Story(
        then(starts, final("that was all")),
        ((early_goodbye,), (words("except for one thing"), final("except for one thing")), (stops,)),
        no_hang_up,
    ),
    "E2": Story(
        then(speaking("One moment please, I look it up. ", heard_ms=0, finish=""), model(tools=("lookup",))),
        (DETECTOR, recogniser("no, stop that"), (tools_settle,)),
        settled,
    ),
    "E3": Story(
        then(asking("book a table"), model(tools=("book_table",))),
        ((tools_settle, model("Your table is booked. "), voice), recogniser("and the parking?"), DETECTOR),
        ran_once,
    ),
    "E4": Story(
        then(speaking("One moment please. ", heard_ms=0, finish=""), model(tools=("book_table",))),
        (DETECTOR, (*recogniser("hello?"), *recogniser("are you there?")), (tools_settle,)),
        ran_once,
    ),
    "F1": Story(speaking(), (DETECTOR, recogniser("Mhm.")), heard_whole(LONG)),
    "F2": Story(
        speaking("We are open on that day. Does Tuesday work? ", heard_ms=2200),
        (DETECTOR, recogniser("Yes.")),
        all_said("Yes."),
    ),
    "G1": Story(asking(), ((model("word " * 23 + "end."), voice), DETECTOR), waited_for_the_last_mark, finish=False),
    "G3": Story(
        asking("that was all"), ((model("Thank you, goodbye. ", tools=("end_call",)), voice), (opened,)), goodbye_heard
    ),
    "H1": Story(
        then(asking(), model("one two three four five six seven eight. "), lambda w: w.voice(words=3)),
        ((lambda w: w.feed(e.VoiceFailed(turn=1, epoch=1, kind="cut")), old_audio), (lambda w: w.wait(400),)),
        unheard_words_only,
    ),
    "H3": Story(asking(), ((model(LONG),), DETECTOR), bounded, finish=False),
    "K1": Story(
        asking("a table by the window"), ((recalled, recalled), (model("Gladly. "), voice), (card,)),
        remembered("a table by the window"), recall_ms=30,
    ),
    "K2": Story(
        asking("I want a table"),
        ((first_recalled, recalled), (final("for two"),), (model("Gladly. "), voice)),
        remembered("I want a table", "for two"), recall_ms=30,
    ),
    "K3": Story(
        asking("I want a table"),
        (DETECTOR, recogniser("for four people"), (recalled, first_recalled, recalled), (model("Gladly. "), voice)),
        remembered("I want a table", "for four people"), recall_ms=100,
    ),
    "K4": Story(
        starts,
        (
            (eager("I want"), lambda w: w.feed(e.TurnResumed()), eager("I want a table"), final("I want a table for two")),
            (first_recalled, recalled, recalled),
            (stops,),
        ),
        remembered("I want a table for two"), recall_ms=100,
    ),
    "K5": Story(
        asking("I want a table"), ((recalled, recalled), (gone,), (model("Gladly. "), voice)),
        nothing_asked_after_the_end, recall_ms=100, finish=False,
    ),
    "K6": Story(
        voice, ((card,), recogniser("I want a table"), (recalled, recalled), DETECTOR),
        remembered("I want a table"), agent(greeting="Hello. How can I help you? "), recall_ms=30,
    ),
    "L1": Story(
        speaking(finish=""),
        ((whisper, take_over, hand_back, say_now), DETECTOR, recogniser("for four people"), (old_audio, old_token, old_end)),
        then(words_on_record("for four people"), everything_told),
    ),
}  # fmt: skip


def shuffled(story: Story, rng: Random, w: World) -> World:
    """One run of the story in a random order, with random gaps."""
    story.setup(w)
    w.hurry(rng)
    left = [list(source) for source in story.sources]
    while any(left):
        acts = rng.choices(left, [len(source) for source in left])[0]
        acts.pop(0)(w)
        w.wait(rng.choice(GAPS_MS))
    for _ in range(24):
        quiet = w.state.reply is None and w.state.cut is None and not w.state.caller.text
        if w.over or (quiet and w.state.phase is Phase.ACTIVE):
            break
        if story.finish:
            w.settle_tools('{"reference":"A1"}')
            recalled(w)
            model("All right. ")(w)
            voice(w)
        w.wait(1500)
    return w


@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_holds_in_many_orders(name: str) -> None:
    in_orders(name, QUICK_ORDERS)


@pytest.mark.long
@pytest.mark.parametrize("name", STORIES)
def test_a_scenario_holds_in_every_order(name: str) -> None:
    in_orders(name, ORDERS)


def in_orders(name: str, orders: int) -> None:
    """This many runs of the story, each in an order of its own."""
    story = STORIES[name]
    for seed in range(orders):
        w = shuffled(story, Random(seed), Watched(story.profile, story.recall_ms))
        holds(f"{name}, seed {seed}", story, w)


def holds(run: str, story: Story, w: World) -> None:
    """Fails with the steps of the run where the story's check does."""
    try:
        story.check(w)
    except AssertionError as failed:
        steps = "\n".join(f"{step[1]} -> {step[3].mode} {step[2]}" for step in w.steps[1:])
        pytest.fail(f"{run}: {failed}\n{steps}")
