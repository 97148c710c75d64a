"""Exhaustive breadth-first search: every order of a bounded alphabet of events, checked after every step.

From a call's start each event that can happen next is tried, in each state that was not seen before, level by level. Two
states are one where only the numbering of timers differs. No time passes but before a sound of the caller, so that some
of a reply has been heard by then, and up to a timer that fires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from calls.core import events as e
from calls.core.machine import BrokenRule, step
from calls.core.state import Phase, Reply, State, Timer
from calls.core.state import Work as Stage
from calls.replay.invariants import Books, Invariant, Violation, inspect

if TYPE_CHECKING:
    from calls.core.commands import Command
    from calls.core.policy import AgentProfile

#: How much later than the event before it the caller's sound comes: some words of a reply were heard by then.
SOUND_MS = 300
PIECE_BYTES = 4000

Can = Callable[[State], e.Event | None]


class Node(NamedTuple):
    """A state of the call, the time in it, and the checker's books."""

    state: State
    now_ms: int
    books: Books


class Move(NamedTuple):
    """An event of the alphabet where it can happen; ``None`` elsewhere. ``later_ms`` passes before it."""

    name: str
    can: Can
    later_ms: int = 0


# --- the alphabet -----------------------------------------------------------------------------------------------------


def _running(state: State) -> Reply | None:
    reply = state.reply
    asked = reply is not None and reply.model is Stage.RUNNING and reply.recall is not Stage.RUNNING
    return reply if asked else None


def _voicing(state: State) -> Reply | None:
    return state.reply if state.reply is not None and state.reply.voice is Stage.RUNNING else None


def _model(make: Callable[[int, int], e.Event]) -> Can:
    return lambda state: make(reply.turn, reply.epoch) if (reply := _running(state)) else None


def _voice(make: Callable[[int, int], e.Event]) -> Can:
    return lambda state: make(reply.turn, reply.epoch) if (reply := _voicing(state)) else None


def _late(make: Callable[[int, int], e.Event]) -> Can:
    """Of an epoch that is over: the one that was stopped, or the one before this."""

    def can(state: State) -> e.Event | None:
        if state.cut is not None:
            return make(state.cut.turn, state.cut.epoch)
        if state.reply is not None and state.reply.epoch > 1:
            return make(state.reply.turn, state.reply.epoch - 1)
        return None

    return can


def _recalled(make: Callable[[int, int], e.Event], age: int = 0) -> Can:
    """Of the recall that is awaited, or of one before it."""

    def can(state: State) -> e.Event | None:
        reply = state.reply
        if reply is None or reply.recall is not Stage.RUNNING or reply.epoch <= age:
            return None
        return make(reply.turn, reply.epoch - age)

    return can


def _tool(name: str) -> Can:
    def can(state: State) -> e.Event | None:
        reply = _running(state)
        if reply is None:
            return None
        number = len(reply.tools)
        return e.ModelToolCall(
            turn=reply.turn, epoch=reply.epoch, call_id=f"{reply.turn}-{number}", name=name, arguments="{}"
        )

    return can


def _chunk(state: State) -> e.Event | None:
    reply = _voicing(state)
    if reply is None or not reply.confirmed or reply.held:
        return None
    piece = reply.playback.sent_bytes // PIECE_BYTES
    return e.AudioSent(turn=reply.turn, epoch=reply.epoch, piece=piece, size_bytes=PIECE_BYTES)


def _mark(state: State) -> e.Event | None:
    for reply in (state.reply, state.cut):
        if reply is not None and reply.playback.outstanding:
            piece = reply.playback.outstanding[0].number
            return e.MarkReturned(turn=reply.turn, epoch=reply.epoch, piece=piece)
    return None


def _result(state: State) -> e.Event | None:
    return e.ToolSettled(call_id=state.running_tools[0], outcome="ok", output="{}") if state.running_tools else None


def _timer(state: State) -> e.Event | None:
    first = min(state.timers, key=lambda timer: timer.due_ms, default=None)
    return e.TimerFired(timer=first.name, key=first.key) if first else None


def _guess(state: State) -> e.Event:
    """At other words than the guess that is in the works, if one is."""
    draft = state.reply is not None and not state.reply.confirmed
    return e.EagerEnd(text="a table for two" if draft and state.caller.text == "a table" else "a table")


def _always(event: e.Event) -> Can:
    return lambda _: event


LATE = (Stage.DONE, Stage.FAILED)


def _memory(turn: int, epoch: int) -> e.Event:
    item = e.Recalled(id="m1", level="L2", kind="preference", text="by the window")
    return e.MemoryRecalled(turn=turn, epoch=epoch, outcome="full", took_ms=9, items=(item,))


#: Stimuli and answers, each of them where the world could send it.
ALPHABET: tuple[Move, ...] = (
    Move(
        "speech start",
        lambda s: None if s.caller.speaking else e.SpeechStarted(voiced_at_ms=0),
        SOUND_MS,
    ),
    Move("speech end", lambda s: e.SpeechEnded(voiced_until_ms=0) if s.caller.speaking else None, SOUND_MS),
    Move("words", _always(e.WordsHeard(text="a table"))),
    Move("back-channel", _always(e.WordsHeard(text="mhm"))),
    Move("eager end", _guess),
    Move("resume", lambda s: e.TurnResumed() if s.reply is not None and not s.reply.confirmed else None),
    Move("final", _always(e.TurnEnded(text="a table"))),
    Move("empty final", _always(e.TurnEnded(text=""))),
    Move("recalled", _recalled(lambda turn, epoch: _memory(turn, epoch))),
    Move("an earlier recall", _recalled(lambda turn, epoch: _memory(turn, epoch), age=1)),
    Move(
        "a late recall", lambda s: _memory(s.reply.turn, s.reply.epoch) if s.reply and s.reply.recall in LATE else None
    ),
    Move("card", lambda s: e.CardLoaded(name="Maria", text="vegetarian") if s.recall_ms and not s.card.name else None),
    Move("token", _model(lambda turn, epoch: e.ModelText(turn=turn, epoch=epoch, text="There is one. "))),
    Move("late token", _late(lambda turn, epoch: e.ModelText(turn=turn, epoch=epoch, text="There is one. "))),
    Move("read", _tool("lookup")),
    Move("payment", _tool("pay")),
    Move("end of call", _tool("end_call")),
    Move("model done", _model(lambda turn, epoch: e.ModelFinished(turn=turn, epoch=epoch, reason="stop"))),
    Move("model failure", _model(lambda turn, epoch: e.ModelFailed(turn=turn, epoch=epoch, kind="cut"))),
    Move("tool result", _result),
    Move("voice chunk", _chunk),
    Move(
        "late chunk", _late(lambda turn, epoch: e.AudioSent(turn=turn, epoch=epoch, piece=99, size_bytes=PIECE_BYTES))
    ),
    Move("voice done", _voice(lambda turn, epoch: e.VoiceFinished(turn=turn, epoch=epoch))),
    Move("voice failure", _voice(lambda turn, epoch: e.VoiceFailed(turn=turn, epoch=epoch, kind="cut"))),
    Move("mark", _mark),
    Move("timer", _timer),
    Move("hang-up", _always(e.CarrierGone(how="stop"))),
)


# --- the search -------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What the search saw. ``depth``: the last level that was searched whole; ``moves``: the events that happened."""

    states: int = 0
    steps: int = 0
    depth: int = 0
    seconds: float = 0.0
    moves: set[str] = field(default_factory=set)
    violations: list[tuple[tuple[str, ...], Violation]] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.states:,} states, {self.steps:,} steps, depth {self.depth}, {self.seconds:.0f} s, "
            f"{len(self.violations)} violations"
        )


def search(
    profile: AgentProfile,
    depth: int,
    first: tuple[str, ...] = (),
    seconds: float = float("inf"),
    recall_ms: int = 0,
) -> Found:
    """Search all orders up to ``depth`` events after ``first``. Stops after the level with the first violation, or where
    the time is up within a level, which then does not count."""
    begun = time.monotonic()
    node = _begin(profile, first, recall_ms)
    found, seen, level = Found(), {_key(node)}, {_key(node): (node, first)}
    for number in range(1, depth + 1):
        below: dict[object, tuple[Node, tuple[str, ...]]] = {}
        for parent, path in level.values():
            for name, child, violations in _children(parent):
                found.steps += 1
                found.moves.add(name)
                found.violations += [((*path, name), violation) for violation in violations]
                key = _key(child)
                if key not in seen:
                    seen.add(key)
                    below[key] = (child, (*path, name))
            if time.monotonic() - begun > seconds:
                below = {}
                break
        found.states, found.seconds = len(seen), time.monotonic() - begun
        if not below and number < depth:
            break
        found.depth, level = number, below
        if found.violations:
            break
    return found


def _begin(profile: AgentProfile, first: tuple[str, ...], recall_ms: int) -> Node:
    started = e.CallStarted(call_sid="CA1", agent=profile, recall_ms=recall_ms)
    node, violations = _step(Node(State(), 0, Books()), started, 0)
    for name in first:
        node, violations = next((child, broken) for move, child, broken in _children(node) if move == name)
        assert not violations, violations
    return node


def _children(parent: Node) -> Iterator[tuple[str, Node, tuple[Violation, ...]]]:
    if parent.state.phase is Phase.ENDED:
        return
    for name, can, later_ms in ALPHABET:
        event = can(parent.state)
        if event is not None:
            child, violations = _step(parent, event, later_ms)
            yield name, child, violations


def _step(parent: Node, event: e.Event, later_ms: int) -> tuple[Node, tuple[Violation, ...]]:
    now = parent.now_ms + later_ms
    match event:
        case e.TimerFired():
            now = max(now, next(timer.due_ms for timer in parent.state.timers if timer.name == event.timer))
        case e.SpeechStarted():
            event = replace(event, voiced_at_ms=now)
        case e.SpeechEnded():
            event = replace(event, voiced_until_ms=now)
    event = replace(event, at_ms=now)
    commands: tuple[Command, ...]
    try:
        state, commands = step(parent.state, event)
    except BrokenRule as error:
        return parent._replace(now_ms=now), (Violation(Invariant.NO_DEAD_STATE, str(error)),)
    books, violations = inspect(parent.books, parent.state, event, commands, state)
    return Node(state, now, books), violations


def _key(node: Node) -> object:
    timers = tuple(sorted((timer.name, timer.due_ms) for timer in node.state.timers))
    state = replace(node.state, timer_key=0, timers=tuple(Timer(name, 0, due) for name, due in timers))
    return state, node.now_ms, node.books


#: Where a search begins: at the greeting-less start of a call, and with a reply in the caller's ear.
BEGINNINGS: dict[str, tuple[str, ...]] = {
    "the start": (),
    "thinking": ("final",),
    "a guess": ("speech start", "eager end"),
    "speaking": ("final", "token", "model done", "voice chunk"),
    "stopped": ("final", "token", "model done", "voice chunk", "speech start"),
}
#: And in a call with a memory, whose answer is awaited.
REMEMBERING: dict[str, tuple[str, ...]] = {
    "recalling": ("final",),
    "recalling for a guess": ("speech start", "eager end"),
}
