"""When a circuit breaker opens, lets a probe through and closes: the rules, as data and pure functions.

A *ruling* is what holds for one operation of a vendor until the next one. Rulings are totally ordered, so processes that
could not hear each other agree as soon as they can: the greatest one holds. An operator's act outranks every automatic
ruling that was made without knowing of it. "Half-open" is not a ruling of its own: it is an open one whose pause is over.

Time is an argument: milliseconds since the epoch, on the clock that the processes share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Says(StrEnum):
    """What the end of an attempt says about the vendor."""

    WELL = "well"  # it answered, if only to tell us that our request is wrong
    ILL = "ill"  # counts towards opening
    LOST = "lost"  # every attempt will fail until somebody acts: opens at once
    NOTHING = "nothing"


#: Kind of failure (``calls.providers.errors.KINDS``) -> what it says. One agent's wrong voice or model must not cut off
#: the others: what is wrong with one request says that the vendor is well.
SAYS: Final[Mapping[str, Says]] = {
    "ok": Says.WELL,
    "refused": Says.ILL,
    "timeout": Says.ILL,
    "hung": Says.ILL,
    "cut": Says.ILL,
    "garbage": Says.ILL,
    "server": Says.ILL,
    "overloaded": Says.ILL,
    "rate_limited": Says.ILL,
    "quota": Says.LOST,
    "auth": Says.LOST,
    "conflict": Says.WELL,
    "forbidden": Says.WELL,
    "bad_request": Says.WELL,
    "not_found": Says.WELL,
    "gone": Says.WELL,
    "unknown": Says.NOTHING,
    "open": Says.NOTHING,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The figures of one operation.

    A closed breaker opens when, of at least ``attempts`` within ``window_ms``, ``share`` (0 to 1) failed; or at once on a
    kind that is ``LOST``. It stays open for ``pause_ms`` (``lost_pause_ms``), for ``growth`` times as long with each
    failed probe, at most ``longest_pause_ms``; each pause is drawn from within ``jitter`` (0 to 1) of that. Opening again
    within ``calm_ms`` of closing counts as a failed probe. ``opens`` off: admits always.
    """

    window_ms: int = 30_000
    attempts: int = 5
    share: float = 0.5
    pause_ms: int = 2_000
    lost_pause_ms: int = 15_000
    longest_pause_ms: int = 30_000
    growth: float = 2.0
    jitter: float = 0.2
    calm_ms: int = 60_000
    opens: bool = True


#: What a caller waits for: short pauses, for each turn in them is lost.
_LIVE: Final = Rules()
#: What runs beside the calls: seldom asked, and patient.
_BESIDE: Final = Rules(
    window_ms=300_000,
    attempts=4,
    pause_ms=10_000,
    lost_pause_ms=60_000,
    longest_pause_ms=300_000,
    calm_ms=600_000,
)

#: Every operation that has a breaker: ``vendor.operation`` -> its figures.
OPERATIONS: Final[Mapping[str, Rules]] = {
    "cartesia.stt": _LIVE,
    "cartesia.stt_batch": _LIVE,
    "cartesia.tts": _LIVE,
    "openai.reply": _LIVE,
    "openai.reply_second": _LIVE,
    "openai.embeddings": _BESIDE,
    "openai.distil": _BESIDE,
    "twilio.rest": Rules(window_ms=60_000),
}


class Phase(StrEnum):
    """What holds at a moment."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"
    FORCED = "forced"  # held open by an operator until it is reset


@dataclass(frozen=True, slots=True)
class Ruling:
    """What holds since ``since_ms``. ``acts`` counts the operators' acts before and with it, ``epoch`` all rulings.

    ``until_ms``: end of the pause of an open one. ``openings``: how often it opened in a row, kept after closing.
    ``cause``: the kind of failure that opened it, or the operator's reason; ``seen``: the attempts it was opened for, by
    kind. ``by``: the operator, empty for an automatic one. ``made_by``: the process, which settles who was first at the
    same time.
    """

    acts: int = 0
    epoch: int = 0
    since_ms: int = 0
    made_by: str = ""
    phase: Phase = Phase.CLOSED
    until_ms: int = 0
    openings: int = 0
    cause: str = ""
    by: str = ""
    seen: tuple[tuple[str, int], ...] = ()

    @property
    def rank(self) -> tuple[int, int, int, str]:
        """Its place in the order of rulings."""
        return self.acts, self.epoch, self.since_ms, self.made_by

    def record(self) -> dict[str, Any]:
        """What ``ruling_of`` takes."""
        return asdict(self)


def ruling_of(record: Any) -> Ruling:
    """The ruling that another process recorded. Raises ``ValueError`` for anything else."""
    try:
        seen = tuple((_typed(kind, str), _typed(number, int)) for kind, number in record["seen"])
        plain = {name: _typed(record[name], cls) for name, cls in _PLAIN.items()}
        return Ruling(**plain, phase=Phase(record["phase"]), seen=seen)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a ruling: {type(error).__name__}") from error


_PLAIN: Final[Mapping[str, type]] = {
    "acts": int,
    "epoch": int,
    "since_ms": int,
    "made_by": str,
    "until_ms": int,
    "openings": int,
    "cause": str,
    "by": str,
}


def _typed(value: Any, cls: type) -> Any:
    if type(value) is not cls:
        raise TypeError
    return value


def phase_at(ruling: Ruling, rules: Rules, now_ms: int) -> Phase:
    """The phase at this time: an open breaker whose pause is over is half-open.

    A pause longer than there can be was begun on a clock that was wrong: it is over too.
    """
    waits = ruling.phase is Phase.OPEN and 0 < ruling.until_ms - now_ms <= rules.longest_pause_ms
    return Phase.HALF_OPEN if ruling.phase is Phase.OPEN and not waits else ruling.phase


def greater(one: Ruling, other: Ruling) -> Ruling:
    """The one that holds, of two."""
    return other if other.rank > one.rank else one


def judged(ruling: Ruling, rules: Rules, counts: Mapping[str, int], now_ms: int, draw: float, by: str) -> Ruling:
    """A closed ruling after an attempt: itself, or an open one. ``counts``: attempts in the window by kind, ``ok`` among
    them. ``draw``: a random number from 0 to 1. ``by``: the process."""
    if ruling.phase is not Phase.CLOSED or not rules.opens:
        return ruling
    lost = _most(counts, Says.LOST)
    if not lost and not _too_many(rules, counts):
        return ruling
    calm = now_ms - ruling.since_ms >= rules.calm_ms
    opened = _opened(
        ruling, rules, lost or _most(counts, Says.ILL), 1 if calm else ruling.openings + 1, now_ms, draw, by
    )
    return replace(opened, seen=tuple(sorted(counts.items())))


def probed(ruling: Ruling, rules: Rules, kind: str, now_ms: int, draw: float, by: str) -> Ruling:
    """An open ruling after its probe ended with ``kind``: closed, open for longer, or itself where that says nothing."""
    says = SAYS[kind]
    if ruling.phase is not Phase.OPEN or says is Says.NOTHING:
        return ruling
    if says is Says.WELL:
        return Ruling(ruling.acts, ruling.epoch + 1, now_ms, by, openings=ruling.openings)
    opened = _opened(ruling, rules, kind, ruling.openings + 1, now_ms, draw, by)
    return replace(opened, seen=ruling.seen)


def tripped(ruling: Ruling, operator: str, reason: str, now_ms: int, by: str) -> Ruling:
    """Held open by an operator until it is reset."""
    return Ruling(
        ruling.acts + 1, ruling.epoch + 1, now_ms, by, Phase.FORCED, openings=ruling.openings, cause=reason, by=operator
    )


def reset(ruling: Ruling, operator: str, reason: str, now_ms: int, by: str) -> Ruling:
    """Closed by an operator; what happened before is forgotten."""
    return Ruling(ruling.acts + 1, ruling.epoch + 1, now_ms, by, cause=reason, by=operator)


def _opened(ruling: Ruling, rules: Rules, cause: str, openings: int, now_ms: int, draw: float, by: str) -> Ruling:
    first_ms = rules.lost_pause_ms if SAYS[cause] is Says.LOST else rules.pause_ms
    # The exponent is bounded: a vendor that is away for a week must not overflow a float.
    whole_ms = min(first_ms * rules.growth ** min(openings - 1, 32), rules.longest_pause_ms)
    pause_ms = round(whole_ms * (1 - rules.jitter * draw))
    return Ruling(ruling.acts, ruling.epoch + 1, now_ms, by, Phase.OPEN, now_ms + pause_ms, openings, cause)


def _too_many(rules: Rules, counts: Mapping[str, int]) -> bool:
    ill = sum(number for kind, number in counts.items() if SAYS[kind] is Says.ILL)
    well = sum(number for kind, number in counts.items() if SAYS[kind] is Says.WELL)
    return ill > 0 and ill + well >= rules.attempts and ill >= rules.share * (ill + well)


def _most(counts: Mapping[str, int], says: Says) -> str:
    return max((kind for kind in counts if SAYS[kind] is says and counts[kind]), key=counts.__getitem__, default="")


#: A window is counted in this many parts: what leaves it leaves within a tenth of its length.
PARTS: Final = 10


class Window:
    """Ends of attempts of the last ``length_ms``, by kind."""

    def __init__(self, length_ms: int) -> None:
        self._part_ms = max(1, length_ms // PARTS)
        self._parts: dict[int, Counter[str]] = {}

    def add(self, kind: str, now_ms: int) -> None:
        """One more attempt ended so."""
        self._forget(now_ms)
        self._parts.setdefault(now_ms // self._part_ms, Counter())[kind] += 1

    def counts(self, now_ms: int) -> Counter[str]:
        """How many of each kind."""
        self._forget(now_ms)
        total: Counter[str] = Counter()
        for part in self._parts.values():
            total.update(part)
        return total

    def clear(self) -> None:
        """Begin anew."""
        self._parts.clear()

    def record(self, now_ms: int) -> dict[str, dict[str, int]]:
        """What ``add_record`` takes, in another process."""
        self._forget(now_ms)
        return {str(part): dict(kinds) for part, kinds in self._parts.items()}

    def add_record(self, record: Mapping[str, Mapping[str, int]]) -> None:
        """Count what another process recorded as well; kinds that are not known here are left out. Raises ``ValueError``
        for what is none, and has taken nothing then."""
        try:
            parts = {int(part): _known(kinds) for part, kinds in record.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"not a window: {type(error).__name__}") from error
        for part, kinds in parts.items():
            self._parts.setdefault(part, Counter()).update(kinds)

    def _forget(self, now_ms: int) -> None:
        part_now = now_ms // self._part_ms  # what lies after it was counted before a clock was set back
        for part in [part for part in self._parts if not part_now - PARTS < part <= part_now + 1]:
            del self._parts[part]


def _known(kinds: Mapping[str, int]) -> Counter[str]:
    return Counter({kind: _typed(number, int) for kind, number in kinds.items() if kind in SAYS})
