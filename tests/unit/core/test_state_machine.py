"""A Hypothesis state machine over the core: it looks for a call that breaks an invariant, and shrinks it when it finds one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from calls.core import events as e
from calls.core.commands import AskModel, Recall, RunTool, Say
from calls.core.machine import BrokenRule
from calls.core.state import Mode
from calls.replay.invariants import Violation
from calls.replay.ledger import recall_of, request_of
from tests.unit.core.bugs import BUGS, Bug
from tests.unit.core.fuzz import LONGEST_END_MS, MEMORIES, REPLIES, TEXTS, Watched
from tests.unit.core.world import TOOLS, agent

pytestmark = pytest.mark.search

texts = st.sampled_from(TEXTS)
replies = st.sampled_from(REPLIES)
#: Of the newest request, or of the one before it.
ages = st.sampled_from((0, 0, 0, 1))


class Call(RuleBasedStateMachine):
    """One call: each rule is something that a caller, a vendor or the carrier can do. ``Watched`` checks every step."""

    w: Watched

    @initialize(
        greeting=st.sampled_from(("", "Hello, how can I help you? ")),
        speculative=st.booleans(),
        greeting_interruptible=st.booleans(),
        chunking=st.sampled_from(("clauses", "words")),
        min_words=st.sampled_from((1, 2)),
        tail_words=st.sampled_from((0, 3)),
        recall_ms=st.sampled_from((0, 30, 300)),
    )
    def begins(self, recall_ms: int, **profile: Any) -> None:
        self.w = Watched(agent(**profile), recall_ms)

    def of(self, kind: type[Any], age: int) -> Any:
        """The newest command of a kind, or the one before; ``None`` where there is none."""
        found = self.w.of(kind)
        return found[-1 - age] if len(found) > age else None

    # --- the caller

    @rule()
    def starts(self) -> None:
        self.w.starts()

    @rule()
    def stops(self) -> None:
        self.w.stops()

    @rule(kind=st.sampled_from((e.WordsHeard, e.EagerEnd, e.TurnEnded)), text=texts)
    def is_heard(self, kind: Any, text: str) -> None:
        self.w.feed(kind(text=text))

    @rule(event=st.sampled_from((e.TurnOpened(), e.TurnResumed(), e.DtmfPressed(digit="1"), e.DtmfPressed(digit="#"))))
    def signals(self, event: e.Event) -> None:
        self.w.feed(event)

    # --- the vendors

    @rule(age=ages, text=replies)
    def model_says(self, age: int, text: str) -> None:
        if ask := self.of(AskModel, age):
            self.w.feed(e.ModelText(turn=ask.turn, epoch=ask.epoch, text=text))

    @rule(age=ages, name=st.sampled_from([*(tool.name for tool in TOOLS), "nonsense"]))
    def model_calls(self, age: int, name: str) -> None:
        if ask := self.of(AskModel, age):
            call_id, arguments = f"c{len(self.w.steps)}", '{"digits":"1"}'
            self.w.feed(
                e.ModelToolCall(turn=ask.turn, epoch=ask.epoch, call_id=call_id, name=name, arguments=arguments)
            )

    @rule(age=ages, fails=st.sampled_from((False, False, False, True)))
    def model_ends(self, age: int, fails: bool) -> None:
        if ask := self.of(AskModel, age):
            kind: Any = e.ModelFailed if fails else e.ModelFinished
            self.w.feed(kind(turn=ask.turn, epoch=ask.epoch, **({"kind": "cut"} if fails else {"reason": "stop"})))

    @rule(words=st.sampled_from((1, 3, 100)), finish=st.booleans())
    def voice_speaks(self, words: int, finish: bool) -> None:
        if self.w.of(Say):
            self.w.voice(words=words, finish=finish)

    @rule(age=ages)
    def voice_fails(self, age: int) -> None:
        if say := self.of(Say, age):
            self.w.feed(e.VoiceFailed(turn=say.turn, epoch=say.epoch, kind="cut"))

    @rule(age=ages, outcome=st.sampled_from(("ok", "error", "timeout")))
    def tool_settles(self, age: int, outcome: str) -> None:
        if run := self.of(RunTool, age):
            self.w.feed(e.ToolSettled(call_id=run.call_id, outcome=outcome, output="{}"))

    # --- the memory

    @rule(age=ages, items=st.sampled_from((0, 2)))
    def memory_answers(self, age: int, items: int) -> None:
        if asked := self.of(Recall, age):
            self.w.recall_of(asked, *MEMORIES[:items])

    @rule(name=st.sampled_from(("", "Maria")))
    def card_is_loaded(self, name: str) -> None:
        self.w.feed(e.CardLoaded(name=name, text="vegetarian"))

    # --- people of ours

    @rule(
        kind=st.sampled_from((e.OperatorWhispered, e.OperatorSaid, e.OperatorTookOver, e.OperatorHandedBack)),
        by=st.sampled_from(("ada", "bob")),
        when=st.sampled_from(("now", "next_pause")),
    )
    def intervenes(self, kind: Any, by: str, when: str) -> None:
        own = {
            e.OperatorWhispered: {"text": "Offer the terrace."},
            e.OperatorSaid: {"text": "We are closed on Mondays.", "when": when},
            e.OperatorHandedBack: {"summary": "It is settled."},
        }
        self.w.feed(kind(key=f"k{len(self.w.steps)}", by=by, **own.get(kind, {})))

    # --- time

    @rule(ms=st.sampled_from((1, 20, 100, 400, 1500, 4000)))
    def time_passes(self, ms: int) -> None:
        self.w.wait(ms)

    @precondition(lambda self: self.w.state.mode is Mode.THINKING)
    @rule()
    def the_answer_is_given(self) -> None:
        """Towards speech that can be interrupted, which single steps seldom reach."""
        if recall_of(self.w.state.reply) is not None:
            self.w.recall(*MEMORIES)
        if request_of(self.w.state.reply) is not None:
            self.w.model("Certainly, I have one by the window. ")
        if self.w.of(Say):
            self.w.voice()

    @precondition(lambda self: self.w.state.reply is not None and not self.w.state.reply.confirmed)
    @rule()
    def the_guess_is_taken_back(self) -> None:
        """While there is one, which is not for long."""
        self.w.feed(e.TurnResumed())

    def teardown(self) -> None:
        """Whatever happened: when nobody does anything any more, the call ends."""
        if hasattr(self, "w") and not self.w.over:
            if self.w.state.operator:
                self.w.feed(e.OperatorConnected(by=self.w.state.operator, on=False))
            self.w.feed(e.SpeechEnded(voiced_until_ms=self.w.now))
            self.w.wait(LONGEST_END_MS)
            assert self.w.over, f"still {self.w.state.phase}, {self.w.state.mode}: {self.w.state.timers}"


def explore(examples: int, *, shrink: bool = True) -> None:
    """Run the machine. Raises what a step or the checker raises, for the shortest such call with ``shrink``."""
    run_state_machine_as_test(
        Call,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
            report_multiple_bugs=False,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_call_breaks_an_invariant() -> None:
    explore(150)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_call_breaks_an_invariant_however_long_one_looks() -> None:
    explore(20_000)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_known_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.install(monkeypatch)
    # A bug may also trip the core over itself, or leave a call that never ends: that is found as well.
    with pytest.raises((Violation, BrokenRule, LookupError, AssertionError)):
        explore(400, shrink=False)
