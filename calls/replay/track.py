"""A call that can be visited at any of its steps: the exact state there, and from which step each part of it comes.

A record is run once; a checkpoint is kept every ``EVERY`` steps. To come to a step, the few lines behind the checkpoint before
it are read again and run, so that neither an hour's states nor its lines need be held. Nothing here reads the commands of
the record: they are what the core gives. Whether that is what was recorded is said by ``calls.replay.run``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from calls.replay.log import Line
    from calls.replay.versions import Core

EVERY = 64
#: In place of an epoch: an operator's microphone has the gate.
LENT = -1
#: How many dropped events, and ends of epochs, are remembered.
_MOST = 12


class Dropped(NamedTuple):
    """An event that came too late to matter. ``why``: ``cancelled`` (what it answers was, in ``since``), ``over`` (what it
    answers had ended), ``timer`` (set anew or forgotten in ``since``), ``ended`` (the call was ending), ``twice`` (told already)."""

    step: int
    type: str
    why: str
    since: int = 0


@dataclass(frozen=True, slots=True)
class Origins:
    """Where parts of a state come from. ``steps`` has the latest step of each name in ``CHANGES``, of ``closed`` (a turn),
    ``asked`` (the model), ``gate`` and ``timer:NAME``; ``began`` those changes of the caller's that led to the present reply, and its beginning; ``dead`` the
    step in which an epoch was cancelled, ``gate`` the epoch that it lets through, 0 while it is closed, ``LENT``."""

    steps: Mapping[str, int] = field(default_factory=dict)
    began: tuple[tuple[str, int], ...] = ()
    dead: Mapping[int, int] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    gate: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A call at one instant: after ``step``, 0 before the first, ``now_ms`` on its clock. ``state`` is of the record's rules."""

    step: int
    now_ms: int
    state: Any
    origins: Origins


def _reply(state: Any, name: str, default: Any = None) -> Any:
    return getattr(state.reply, name, default)


def _identity(reply: Any) -> tuple[int, int] | None:
    return None if reply is None else (reply.turn, reply.epoch)


def _began(before: Any, after: Any) -> bool:
    return after.reply is not None and _identity(before.reply) != _identity(after.reply)


def _turned(what: str) -> Callable[[Any, Any], bool]:
    """Whether this of the reply has become true."""
    return lambda before, after: (
        bool(_reply(after, what)) and (_began(before, after) or not _reply(before, what)) and after.reply is not None
    )


def _running(what: str) -> Callable[[Any, Any], bool]:
    def changed(before: Any, after: Any) -> bool:
        return str(_reply(after, what)) == "running" and (
            _began(before, after) or str(_reply(before, what)) != "running"
        )

    return changed


def _differs(what: str) -> Callable[[Any, Any], bool]:
    return lambda before, after: getattr(before, what, None) != getattr(after, what, None)


#: What may change in a step, by name: whether it did.
CHANGES: dict[str, Callable[[Any, Any], bool]] = {
    "phase": _differs("phase"),
    "mode": _differs("mode"),
    "ending": _differs("ending"),
    "ear_away": _differs("ear_away"),
    "reply": lambda before, after: _began(before, after) and before.cut is None,
    "resumed": lambda before, after: _began(before, after) and before.cut is not None and after.cut is None
    and after.reply.turn == before.cut.turn,
    "answered_cut": lambda before, after: _began(before, after) and before.cut is not None
    and after.reply.turn != before.cut.turn,
    "confirmed": _turned("confirmed"),
    "held": _turned("held"),
    "released": lambda before, after: after.reply is not None and _identity(before.reply) == _identity(after.reply)
    and bool(_reply(before, "held")) and not after.reply.held,
    "cut": lambda before, after: before.cut is None and after.cut is not None,
    "recall": _running("recall"),
    "voice": _running("voice"),
    "first_token": lambda before, after: after.reply is not None and _reply(before, "silent", True) is True
    and _reply(after, "silent", True) is False,
    "failed": lambda before, after: len(_reply(after, "causes", ())) > len(_reply(before, "causes", ())),
    "audible": lambda before, after: str(before.mode) != "SPEAKING" and str(after.mode) == "SPEAKING",
    "tool": lambda before, after: len(after.running_tools) > len(before.running_tools),
    "speaks": lambda before, after: after.caller.speaking and (
        not before.caller.speaking or before.caller.voiced_at_ms != after.caller.voiced_at_ms
    ),
    "silent": lambda before, after: before.caller.speaking and not after.caller.speaking,
    "words": lambda before, after: bool(after.caller.text.strip()) and not before.caller.text.strip(),
    "digits": lambda before, after: after.caller.digits != before.caller.digits,
}  # fmt: skip


#: How a reply may begin, and what of the caller's may have led to it.
BEGINNINGS = ("reply", "resumed", "answered_cut")
HEARD = ("speaks", "words", "silent", "digits")


class Broken(NamedTuple):
    """From where on a record cannot be followed, and why."""

    step: int
    why: str


class Track:
    """The way through one record. ``add`` its events in order, then ask for any of them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._state: Any = core.state()
        self._origins = Origins()
        self._checkpoints: list[tuple[Any, Origins]] = [(self._state, self._origins)]
        self._at_ms, self._seqs = array("q"), array("q")
        self.broken: Broken | None = None

    def __len__(self) -> int:
        """How many steps can be visited."""
        return len(self._at_ms)

    @property
    def ends_ms(self) -> int:
        """The time of the last step on the call's clock."""
        return self._at_ms[-1] if self._at_ms else 0

    def add(self, event: Line) -> bool:
        """The next event; ``False`` from the first on that cannot be followed, which ``broken`` explains."""
        if self.broken is not None:
            return False
        step = len(self) + 1
        if event.kind != "event" or event.step != step:
            self.broken = Broken(step, event.error or f"step {step} is missing in the record")
            return False
        try:
            self._state, self._origins = self._run(self._state, self._origins, event)
        except Exception as error:  # noqa: BLE001 - whatever the entry or the rules stumble over
            self.broken = Broken(step, f"{type(error).__name__}: {error}")
            return False
        self._at_ms.append(max(event.at_ms, self.ends_ms))
        self._seqs.append(event.seq)
        if step % EVERY == 0:
            self._checkpoints.append((self._state, self._origins))
        return True

    def step_at(self, at_ms: int) -> int:
        """The last step at or before this time; 0 before the first."""
        return bisect_right(self._at_ms, at_ms)

    def at_ms(self, step: int) -> int:
        """When a step was."""
        return self._at_ms[step - 1] if step else 0

    def seq(self, step: int) -> int:
        """The sequence number of a step's event."""
        return self._seqs[step - 1]

    def behind(self, step: int) -> range:
        """The steps whose events ``visit`` needs."""
        return range(step // EVERY * EVERY + 1, step + 1)

    def visit(self, step: int, events: Sequence[Line], now_ms: int | None = None) -> Moment:
        """The call after this step; ``events`` are those of ``behind``. Raises ``IndexError`` for a step that cannot be visited."""
        if not 0 <= step <= len(self):
            raise IndexError(f"there are {len(self)} steps, and no step {step}")
        state, origins = self._checkpoints[step // EVERY]
        for event in events:
            state, origins = self._run(state, origins, event)
        at_ms = self.at_ms(step)
        return Moment(step, at_ms if now_ms is None else max(at_ms, now_ms), state, origins)

    def _run(self, before: Any, origins: Origins, line: Line) -> tuple[Any, Origins]:
        event = self._core.event_from(line.data)
        after, commands = self._core.step(before, event)
        return after, _followed(origins, line, event, before, after, commands)


def track_of(core: Core, events: Iterable[Line]) -> Track:
    """The way through these events, as far as it goes."""
    track = Track(core)
    for event in events:
        if not track.add(event):
            break
    return track


def _followed(origins: Origins, line: Line, event: Any, before: Any, after: Any, commands: tuple[Any, ...]) -> Origins:
    """The origins after a step."""
    step = line.step
    changed = {name: step for name, has in CHANGES.items() if has(before, after)}
    dead, dropped, gate = origins.dead, origins.dropped, origins.gate
    for command in commands:
        match type(command).__name__:
            case "SetTimer" | "CancelTimer":
                changed[f"timer:{command.timer}"] = step
            case "OpenGate":
                gate, changed["gate"] = command.epoch, step
            case "CloseGate" | "TakeGateBack":
                gate, changed["gate"] = 0, step
            case "LendGate":
                gate, changed["gate"] = LENT, step
            case "CancelModel":  # the voice says what it has
                dead = _with(dead, command.epoch, step)
            case "CancelVoice" | "Clear":
                dead = _with(dead, command.epoch, step)
                if 0 < gate <= command.epoch:
                    gate, changed["gate"] = 0, step
            case "AskModel":
                changed["asked"] = step
            case "TurnClosed":
                changed["closed"] = step
            case "StaleDropped":
                dropped = (*dropped[-_MOST:], _dropped(line, event, before, origins))
    steps = {**origins.steps, **changed} if changed else origins.steps
    began = origins.began
    if begun := [(name, step) for name in BEGINNINGS if name in changed]:
        heard_since = origins.steps.get("closed", 0)
        asks = bool(after.reply.user_text) and "resumed" not in changed
        led = [(name, steps[name]) for name in HEARD if asks and steps.get(name, 0) > heard_since]
        began = (*sorted(led, key=lambda one: one[1]), *begun)
    return Origins(steps, began, dead, dropped, gate)


def _with(dead: Mapping[int, int], epoch: int, step: int) -> Mapping[int, int]:
    return {**dict(list(dead.items())[-_MOST:]), epoch: step}


def _dropped(line: Line, event: Any, before: Any, origins: Origins) -> Dropped:
    if str(before.phase) in ("ending", "ended"):
        return Dropped(line.step, line.type, "ended", origins.steps.get("phase", 0))
    if line.type == "TimerFired":
        return Dropped(line.step, line.type, "timer", origins.steps.get(f"timer:{event.timer}", 0))
    epoch = getattr(event, "epoch", None)
    if epoch is None:
        return Dropped(line.step, line.type, "twice")
    since = origins.dead.get(epoch, 0)
    return Dropped(line.step, line.type, "cancelled" if since else "over", since)
