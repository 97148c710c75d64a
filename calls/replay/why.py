"""Why a call is as it is at a moment: what it is about, the steps that led there, what is waited for, what was dropped.

A table of situations, tried in order. Each names what of a state has to be so, which changes led to it
(``calls.replay.track.CHANGES``) and what ends it. All of it is read from the state and its origins: nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from calls.replay.track import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.replay.track import Moment

#: A model that has kept the caller waiting for so long is slow.
SLOW_MS = 1500


class Link(NamedTuple):
    """A step on the way: its number, and what changed in it, by names of ``calls.replay.track.CHANGES``."""

    step: int
    changed: tuple[str, ...]


class Waits(NamedTuple):
    """What would end the situation; by when at the latest (``due_ms`` on the call's clock, -1 where nothing limits it), and
    which step set that limit."""

    what: str
    due_ms: int = -1
    set_in: int = 0


@dataclass(frozen=True, slots=True)
class Why:
    """``cause`` is a key of ``CAUSES``. ``since``: the step that the situation began with."""

    cause: str
    since: int
    chain: tuple[Link, ...]
    waits: tuple[Waits, ...]
    dropped: tuple[Dropped, ...]


class Situation(NamedTuple):
    """One row. ``led``: the changes that led to it, from the one named ``start`` on; ``BEGUN`` is how the reply began, and what
    of the caller's led to that. ``ends`` pairs what is waited for with the timer that limits it."""

    cause: str
    holds: Callable[[Moment], bool]
    led: tuple[str, ...]
    start: str = ""
    ends: tuple[tuple[str, str], ...] = ()


BEGUN = "begun"


def _phase(name: str) -> Callable[[Moment], bool]:
    return lambda moment: str(moment.state.phase) == name


def _of_reply(test: Callable[[Any, Moment], bool]) -> Callable[[Moment], bool]:
    """Of a reply to a turn that is sure and that nothing is heard of yet."""

    def holds(moment: Moment) -> bool:
        reply = moment.state.reply
        return reply is not None and reply.confirmed and test(reply, moment)

    return holds


def _blamed(who: str) -> Callable[[Moment], bool]:
    return _of_reply(lambda reply, _: any(cause.startswith(who) for cause in getattr(reply, "causes", ())[-1:]))


def _waits_for_model(reply: Any) -> bool:
    return str(reply.model) == "running" and not reply.text.strip()


def _waited_ms(reply: Any, moment: Moment) -> int:
    return int(moment.now_ms - (getattr(reply, "token_ms", 0) or reply.progress_ms))


SITUATIONS: tuple[Situation, ...] = (
    Situation("connecting", _phase("connecting"), (), ends=(("stream", ""),)),
    Situation("ended", _phase("ended"), ("ending", "phase")),
    Situation("ending", _phase("ending"), ("ending", "phase"), ends=(("carrier", "hangup"),)),
    Situation("operator", _phase("operator"), ("phase",), ends=(("hand_back", ""),)),
    Situation(
        "speaking",
        lambda moment: str(moment.state.mode) == "SPEAKING",
        ("confirmed", "recall", "asked", "first_token", "voice", "failed", "audible"),
        BEGUN,
        (("heard", "reply"),),
    ),
    Situation(
        "interrupted",
        lambda moment: moment.state.cut is not None,
        ("audible", "speaks", "cut", "words", "silent", "reply"),
        "audible",
        (("words", "verdict"), ("end_of_turn", "turn_end")),
    ),
    Situation(
        "gate_closed",
        _of_reply(lambda reply, _: reply.held),
        ("confirmed", "asked", "first_token", "held", "gate"),
        BEGUN,
        (("words", "verdict"), ("end_of_turn", "turn_end")),
    ),
    Situation(
        "voice_failed", _blamed("voice"), ("confirmed", "first_token", "voice", "failed"), BEGUN, (("voice", "reply"),)
    ),
    Situation("model_failed", _blamed("model"), ("confirmed", "asked", "failed"), BEGUN, (("model", "reply"),)),
    Situation(
        "tool",
        _of_reply(lambda reply, moment: bool(moment.state.running_tools)),
        ("confirmed", "asked", "first_token", "tool"),
        BEGUN,
        (("tool", "reply"), ("filler", "filler")),
    ),
    Situation(
        "recall",
        _of_reply(lambda reply, _: str(getattr(reply, "recall", "")) == "running"),
        ("confirmed", "recall"),
        BEGUN,
        (("memory", "recall"),),
    ),
    Situation(
        "model_slow",
        _of_reply(lambda reply, moment: _waits_for_model(reply) and _waited_ms(reply, moment) >= SLOW_MS),
        ("confirmed", "recall", "asked"),
        BEGUN,
        (("model", "reply"), ("patience", "patience")),
    ),
    Situation(
        "model",
        _of_reply(lambda reply, _: _waits_for_model(reply)),
        ("confirmed", "recall", "asked"),
        BEGUN,
        (("model", "reply"), ("patience", "patience")),
    ),
    Situation(
        "voice",
        _of_reply(lambda *_: True),
        ("confirmed", "asked", "first_token", "voice"),
        BEGUN,
        (("voice", "reply"),),
    ),
    Situation(
        "caller_speaks",
        lambda moment: moment.state.caller.speaking,
        ("speaks", "words", "reply"),
        "speaks",
        (("caller_stops", "idle"), ("end_of_turn", "turn_end")),
    ),
    Situation(
        "end_of_turn",
        lambda moment: bool(moment.state.caller.text.strip()) or moment.state.reply is not None,
        ("speaks", "words", "silent", "reply"),
        "speaks",
        (("end_of_turn", "turn_end"), ("own_silence", "silence")),
    ),
    Situation("keys", lambda moment: bool(moment.state.caller.digits), ("digits",), ends=(("keys", "dtmf"),)),
    Situation(
        "ear_away",
        lambda moment: bool(getattr(moment.state, "ear_away", "")),
        ("ear_away",),
        ends=(("ear", "ear_away"), ("prompt", "idle")),
    ),
    Situation(
        "silence",
        lambda _: True,
        ("closed", "speaks", "silent", "phase"),
        "closed",
        (("prompt", "idle"), ("caller", "")),
    ),
)
CAUSES = tuple(situation.cause for situation in SITUATIONS)


def why(moment: Moment) -> Why:
    """What a moment is about, and what led to it."""
    situation = next(one for one in SITUATIONS if one.holds(moment))
    since, chain = _chain(situation, moment)
    armed = {timer.name: timer for timer in moment.state.timers}
    waits = tuple(
        Waits(what, armed[timer].due_ms, moment.origins.steps.get(f"timer:{timer}", 0)) if timer else Waits(what)
        for what, timer in situation.ends
        if not timer or timer in armed
    )
    dropped = tuple(one for one in moment.origins.dropped if one.step >= since)
    return Why(situation.cause, since, chain, waits, dropped)


def _chain(situation: Situation, moment: Moment) -> tuple[int, tuple[Link, ...]]:
    """The steps of the changes that led here, and the first of them."""
    known = moment.origins.steps
    led = list(moment.origins.began) if situation.start == BEGUN else []
    start = led[-1][1] if led else known.get(situation.start, 0)
    led += [(name, known[name]) for name in situation.led if known.get(name, 0) >= max(start, 1)]
    by_step: dict[int, list[str]] = {}
    for name, step in led:
        by_step.setdefault(step, []).append(name)
    links = tuple(Link(step, tuple(names)) for step, names in sorted(by_step.items()))
    return (links[0].step if links else moment.step), links
