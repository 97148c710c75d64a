"""Who calls when, and for what: all of a demonstration's calls, decided by a seed. Pure."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from voiceagent.demo import scripts
from voiceagent.demo.agents import BY_KEY
from voiceagent.demo.call import Ordered
from voiceagent.demo.caller import Act, Interrupt, Say

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How likely a call is in each hour of the day (UTC), and on each day of the week from Monday.
_HOURS = (0, 0, 0, 0, 0, 0, 1, 3, 6, 8, 10, 15, 14, 9, 7, 8, 12, 18, 20, 14, 8, 4, 2, 1)
_WEEKDAYS = (5, 8, 9, 10, 14, 13, 9)
#: The first and the last day are days on which fewer called than on the days between: business grows.
_GROWTH = 0.6
_RETURNING, _WITHHELD, _UNANSWERED = 0.42, 0.03, 0.025
_REGULARS = 70
#: Which calls have sound: the latest, and some of the others.
_RECORDED_DAYS, _RECORDED_SHARE = 4, 0.08
_LATEST_CALL = timedelta(minutes=12)
_PITCHES = (0.92, 1.06, 1.2)
_WITHHELD_NUMBER = "anonymous"

#: Numbers that belong to nobody, by what stands before and behind the running part: +1 555 01xx, and those that the British
#: regulator keeps for drama.
_NUMBERS = (
    *(f"+1{area}55501" + "{:02d}" for area in (202, 303, 312, 404, 415, 503, 617, 713, 808, 919)),
    "+44770090{:04d}",
    "+44163296{:04d}",
    "+44207946{:04d}",
)
_FREE = {"+44770090{:04d}": 1000, "+44163296{:04d}": 1000, "+44207946{:04d}": 1000}


@dataclass(frozen=True, slots=True)
class Planned:
    """A call to be made. ``agent``: key of who is called; ``unanswered``: why no stream came of it, empty where one did."""

    order: Ordered
    agent: str
    script: str
    unanswered: str = ""


@dataclass(slots=True)
class _Regular:
    name: str
    number: str
    pitch: float
    agent: str
    journey: tuple[tuple[Act, ...], ...]
    calls: int = 0


def plan(count: int, days: int, now: datetime, seed: int) -> list[Planned]:
    """``count`` calls of the ``days`` before ``now``, by time. The same arguments give the same calls.

    The ids of the calls follow from ``seed`` and the place alone, so that a plan of another day names the same calls.
    """
    rng = random.Random(seed)  # noqa: S311 - a demonstration that can be repeated
    numbers = _numbers(rng)
    regulars = [_regular(rng, next(numbers)) for _ in range(min(_REGULARS, max(3, count // 6)))]
    weights = [1 / (place + 3) for place in range(len(regulars))]
    made = []
    for place, began_at in enumerate(_moments(rng, count, days, now)):
        drawn = rng.random()
        recorded = began_at > now - timedelta(days=_RECORDED_DAYS) or rng.random() < _RECORDED_SHARE
        call_seed = rng.getrandbits(48)
        if drawn < _RETURNING:
            regular = rng.choices(regulars, weights)[0]
            agent, name, acts = regular.agent, f"returns, call {regular.calls + 1}", _next_of(regular, rng)
            number, pitch, full_name = regular.number, regular.pitch, regular.name
        else:
            script = rng.choices(scripts.STRANGERS, [one.weight for one in scripts.STRANGERS])[0]
            agent, name, acts = script.of, script.name, script.acts
            number, pitch, full_name = next(numbers), rng.choice(_PITCHES), _name(rng)
            if drawn > 1 - _WITHHELD:
                number = _WITHHELD_NUMBER
        unanswered = rng.choice(("overload", "carrier", "overload")) if rng.random() < _UNANSWERED else ""
        made.append(
            Planned(
                Ordered(
                    call_sid=_sid(seed, place),
                    from_number=number,
                    to_number=BY_KEY[agent].number,
                    began_at=began_at,
                    acts=_filled(acts, full_name, rng),
                    seed=call_seed,
                    pitch=pitch,
                    is_recorded=recorded,
                ),
                agent,
                name,
                unanswered,
            )
        )
    return made


def _sid(seed: int, place: int) -> str:
    return "CA" + hashlib.sha256(f"demo:{seed}:{place}".encode()).hexdigest()[:32]


def _numbers(rng: random.Random) -> Iterator[str]:
    every = [form.format(n) for form in _NUMBERS for n in range(_FREE.get(form, 100))]
    rng.shuffle(every)
    taken = {agent.number for agent in BY_KEY.values()}
    yield from (number for number in every if number not in taken)


def _name(rng: random.Random) -> str:
    return f"{rng.choice(scripts.FIRST_NAMES)} {rng.choice(scripts.LAST_NAMES)}"


def _regular(rng: random.Random, number: str) -> _Regular:
    agent, journey = rng.choices(scripts.JOURNEYS, (4, 3, 3, 2, 1))[0]
    return _Regular(_name(rng), number, rng.choice(_PITCHES), agent, journey)


def _next_of(regular: _Regular, rng: random.Random) -> tuple[Act, ...]:
    """What a regular calls for this time: the next step of their journey, after its end any but the first."""
    place = regular.calls if regular.calls < len(regular.journey) else rng.randrange(1, len(regular.journey))
    regular.calls += 1
    return regular.journey[place]


def _moments(rng: random.Random, count: int, days: int, now: datetime) -> list[datetime]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    slots, weights = [], []
    for back in range(days, -1, -1):
        day = midnight - timedelta(days=back)
        for hour, likely in enumerate(_HOURS):
            slot = day + timedelta(hours=hour)
            if likely and now - timedelta(days=days) <= slot and slot + timedelta(hours=1) <= now - _LATEST_CALL:
                slots.append(slot)
                weights.append(likely * _WEEKDAYS[day.weekday()] * (_GROWTH + (1 - _GROWTH) * (days - back) / days))
    chosen = rng.choices(slots, weights, k=count)
    return sorted(slot + timedelta(seconds=round(rng.uniform(0, 3599), 3)) for slot in chosen)


def _filled(acts: tuple[Act, ...], name: str, rng: random.Random) -> tuple[Act, ...]:
    fields = {
        "name": name,
        "first": name.split()[0],
        "party": rng.choice(scripts.PARTIES),
        "day": rng.choice(scripts.DAYS),
        "time": rng.choice(scripts.TIMES),
    }
    return tuple(
        replace(act, text=act.text.format(**fields)) if isinstance(act, Say | Interrupt) else act for act in acts
    )
