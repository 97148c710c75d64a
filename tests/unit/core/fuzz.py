"""Random calls: whatever happens in whatever order, the invariants hold and the call can end."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from calls.core import events as e
from calls.core.commands import AskModel, Recall, RunTool, Say, TurnClosed
from calls.replay.invariants import Checker, Invariant, Violation
from tests.unit.core.world import World, agent

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.core.policy import AgentProfile

#: Longest a call may last once the caller and all vendors are silent: the longest of the agents below.
LONGEST_END_MS = 240_000
TEXTS = ("I want a table", "for two", "mhm", "yes", "stop that please", "", "what time do you open?")
REPLIES = ("Certainly. ", "For how many people would that be? ", "one moment", " we open at noon, and close at ten. ")


def _epoch(w: World, rng: Random) -> tuple[int, int]:
    asks = w.of(AskModel)
    pick = asks[-1] if asks and rng.random() < 0.85 else (rng.choice(asks) if asks else None)
    return (pick.turn, pick.epoch) if pick else (0, 1)


def _voice_epoch(w: World, rng: Random) -> tuple[int, int]:
    says = w.of(Say)
    pick = says[-1] if says and rng.random() < 0.85 else (rng.choice(says) if says else None)
    return (pick.turn, pick.epoch) if pick else (0, 1)


def _text(w: World, rng: Random) -> None:
    turn, epoch = _epoch(w, rng)
    w.feed(e.ModelText(turn=turn, epoch=epoch, text=rng.choice(REPLIES)))


def _tool(w: World, rng: Random) -> None:
    turn, epoch = _epoch(w, rng)
    name = rng.choice(("lookup", "book_table", "pay", "send_dtmf", "end_call", "transfer_call", "nonsense"))
    arguments = rng.choice(("{}", '{"digits":"1#"}'))
    w.feed(e.ModelToolCall(turn=turn, epoch=epoch, call_id=f"c{len(w.steps)}", name=name, arguments=arguments))


def _finish(w: World, rng: Random) -> None:
    turn, epoch = _epoch(w, rng)
    w.feed(e.ModelFinished(turn=turn, epoch=epoch, reason="stop"))


def _model_failed(w: World, rng: Random) -> None:
    turn, epoch = _epoch(w, rng)
    if rng.random() < 0.3:
        w.feed(e.ModelAttemptFailed(turn=turn, epoch=epoch, kind="server", endpoint="openai.reply"))
    w.feed(e.ModelFailed(turn=turn, epoch=epoch, kind="cut", retryable=rng.random() < 0.7))


def _voice(w: World, rng: Random) -> None:
    if w.of(Say):
        w.voice(finish=rng.random() < 0.8, words=rng.choice((1, 3, 100)))


def _stray_audio(w: World, rng: Random) -> None:
    if w.of(Say):
        turn, epoch = _voice_epoch(w, rng)
        w.audio(turn, epoch, rng.randrange(160, 8000))


def _voice_failed(w: World, rng: Random) -> None:
    turn, epoch = _voice_epoch(w, rng)
    w.feed(e.VoiceFailed(turn=turn, epoch=epoch, kind="cut"))


def _ear(w: World, rng: Random) -> None:
    w.feed(e.EarReady() if rng.random() < 0.5 else e.EarFailed(kind="cut", final=rng.random() < 0.05))


def _settle(w: World, rng: Random) -> None:
    runs = w.of(RunTool)
    if runs:
        w.feed(e.ToolSettled(call_id=rng.choice(runs).call_id, outcome="ok", output="{}"))


def _heard(kind: type[e.Event]) -> Callable[[World, Random], None]:
    def act(w: World, rng: Random) -> None:
        w.feed(kind(text=rng.choice(TEXTS)))  # type: ignore[call-arg]

    return act


#: What can happen, and how often.
ACTIONS: tuple[tuple[int, Callable[[World, Random], None]], ...] = (
    (8, lambda w, r: w.feed(e.SpeechStarted(voiced_at_ms=max(0, w.now - 60)))),
    (8, lambda w, r: w.feed(e.SpeechEnded(voiced_until_ms=w.now))),
    (4, lambda w, r: w.feed(e.TurnOpened())),
    (8, _heard(e.WordsHeard)),
    (6, _heard(e.EagerEnd)),
    (3, lambda w, r: w.feed(e.TurnResumed())),
    (10, _heard(e.TurnEnded)),
    (14, _text),
    (5, _tool),
    (8, _finish),
    (2, _model_failed),
    (14, _voice),
    (3, _stray_audio),
    (2, _voice_failed),
    (1, _ear),
    (6, _settle),
    (1, lambda w, r: w.feed(e.DtmfPressed(digit=r.choice("123#")))),
    (1, lambda w, r: w.feed(e.ErrorRaised(where="tool", error="ValueError"))),
    (20, lambda w, r: w.wait(r.choice((1, 20, 100, 400, 1500, 4000)))),
)
MEMORIES = (
    e.Recalled(id="m1", level="L2", kind="preference", text="sits by the window", score_milli=810),
    e.Recalled(id="m2", level="L1", kind="utterance", text="for two", in_prompt=False, why_not="duplicate"),
)


def _recalled(w: World, rng: Random) -> None:
    asked = w.of(Recall)
    if asked:
        pick = asked[-1] if rng.random() < 0.8 else rng.choice(asked)
        w.recall_of(pick, *MEMORIES[: rng.randrange(3)])


#: What can happen besides in a call with a memory.
WITH_MEMORY: tuple[tuple[int, Callable[[World, Random], None]], ...] = (
    *ACTIONS,
    (16, _recalled),
    (2, lambda w, r: w.feed(e.CardLoaded(name=r.choice(("", "Maria")), text=r.choice(("", "vegetarian"))))),
)


def _key(w: World) -> str:
    return f"k{len(w.steps)}"


def _whisper(w: World, rng: Random) -> None:
    w.feed(e.OperatorWhispered(key=_key(w), by="ada", text=rng.choice(TEXTS)))


def _say_exactly(w: World, rng: Random) -> None:
    text, when = rng.choice(("We are closed on Mondays.", " ")), rng.choice(("now", "next_pause"))
    w.feed(e.OperatorSaid(key=_key(w), by="ada", text=text, when=when))


def _take_over(w: World, rng: Random) -> None:
    w.feed(e.OperatorTookOver(key=_key(w), by=rng.choice(("ada", "bob"))))


def _hand_back(w: World, rng: Random) -> None:
    w.feed(e.OperatorHandedBack(key=_key(w), by=rng.choice(("ada", "bob")), summary="It is settled."))


def _line(w: World, rng: Random) -> None:
    w.feed(e.OperatorConnected(by=rng.choice(("ada", "bob")), on=rng.random() < 0.3))


#: What people of ours can do besides.
OPERATORS: tuple[tuple[int, Callable[[World, Random], None]], ...] = (
    (4, _whisper),
    (4, _say_exactly),
    (3, _take_over),
    (3, _hand_back),
    (2, _line),
    (1, lambda w, r: w.feed(e.OperatorListening(by="ada", on=r.random() < 0.5))),
)


def random_agent(rng: Random) -> AgentProfile:
    """An agent with some of everything that a policy can say."""
    return agent(
        greeting=rng.choice(("", "Hello, how can I help you today?")),
        transfer_to=rng.choice(("", "+15550001111")),
        chunking=rng.choice(("clauses", "words")),
        endpointing=rng.choice(("turns", "silence")),
        speculative=rng.random() < 0.7,
        idle_prompts=rng.choice((0, 1, 2)),
        min_words=rng.choice((1, 1, 2)),
        patience_ms=rng.choice((0, 300, 2500)),
        ear_away_ms=rng.choice((0, 300, 3000)),
        filler_ms=rng.choice((0, 300, 2500)),
        tail_words=rng.choice((0, 3)),
        greeting_interruptible=rng.random() < 0.7,
    )


def whole_run_heard(turn: TurnClosed, words: list[str]) -> None:
    """Held against what the carrier really played: neither more nor less entered the record. Raises ``Violation``."""
    if "".join(turn.heard_text.split()) != "".join(words):
        detail = f"{words} were heard of turn {turn.turn}, recorded is {turn.heard_text!r}"
        raise Violation(Invariant.HEARD_TRUTH, detail)


class Watched(World):
    """A world whose every step the checker watches, and holds against what was really heard."""

    def __init__(
        self, profile: AgentProfile | None = None, recall_ms: int = 0, card: tuple[str, str] | None = None
    ) -> None:
        self.checker = Checker()
        super().__init__(profile, recall_ms, card)

    def _step(self, event: e.Event) -> None:
        super()._step(event)
        self._watch()

    def _watch(self) -> None:
        """Hold the newest step against the invariants and against what was heard."""
        before, stamped, commands, after = self.steps[-1]
        self.checker.watch(before, stamped, commands, after)
        for command in commands:
            if isinstance(command, TurnClosed) and self._measurable(command):
                whole_run_heard(command, self.heard_words(command.turn, stamped.at_ms))

    def _measurable(self, turn: TurnClosed) -> bool:
        """Whether all its audio had words with times: no recorded phrase, no stray noise."""
        return all(piece.word for piece in self.played[turn.turn])


def random_call(seed: int, steps: int = 120, recall_ms: int = 0, operators: bool = False) -> World:
    """One random call, then nobody does anything any more: it ends all the same. Raises ``Violation``."""
    rng = Random(seed)
    w = Watched(random_agent(rng), recall_ms)
    actions = (WITH_MEMORY if recall_ms else ACTIONS) + (OPERATORS if operators else ())
    weights = [weight for weight, _ in actions]
    for _ in range(steps):
        rng.choices(actions, weights)[0][1](w, rng)
        if w.over:
            return w
    if w.state.operator:
        w.feed(e.OperatorConnected(by=w.state.operator, on=False))
    if rng.random() < 0.3:
        w.feed(e.HangUpAsked(by=rng.choice(("drain", "operator"))))
        w.wait(60_000)
    elif rng.random() < 0.5:
        w.feed(e.CarrierGone(how=rng.choice(("stop", "closed", "silent", "protocol"))))
    else:
        w.feed(e.SpeechEnded(voiced_until_ms=w.now))
        w.wait(LONGEST_END_MS)
    assert w.over, f"still {w.state.phase}, {w.state.mode}: {w.state.timers}"
    return w
