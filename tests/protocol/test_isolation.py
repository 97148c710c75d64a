"""Whatever a token's holder asks, in whatever order: nothing of another caller comes back, and nothing of theirs changes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import people
from memory.core.values import Said
from memory.models import Memory, Source, Utterance
from memory.people import Person
from memory.services import cards
from memory.services.writing import write_conversation
from tests.app.memory.people import DAY, MONDAY, fact
from tests.protocol.house import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.protocol.house import Served

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]

#: Stands in every text of the other caller, and in nothing that is asked.
MARK = "qqvxz"
_numbers = count(15550200000)


@dataclass(frozen=True, slots=True)
class Scene:
    """A caller whose token is held, another one, and everything by which either might be named."""

    own: Person
    other: Person
    other_number: str
    secret: str
    names: tuple[str, ...]
    ids: tuple[str, ...]

    def rows_of_other(self) -> list[Any]:
        """All that is kept of the other caller."""
        return [
            sorted(map(repr, model.objects.filter(caller_id=self.other.id).values()))
            for model in (Memory, Utterance, Source)
        ]


def scene(token: Callable[..., str]) -> Scene:
    """Two callers of whom the same things are known, in other words."""
    numbers = [f"+{next(_numbers)}" for _ in range(2)]
    found: list[list[str]] = []
    for number, word in zip(numbers, ("plain", MARK), strict=True):
        person = people.ensure(number)
        said = [Said(0, "user", f"I am allergic to {word} nuts.", MONDAY)]
        write_conversation(person, f"CA-{number}", said, began_at=MONDAY, ended_at=MONDAY + DAY / 24)
        rows = [fact(person, f"{kind} {word} nuts", kind=kind) for kind in ("preference", "summary", "identity")]
        for row in rows:
            row.save(force_insert=True)
        cards.build(person, now=MONDAY + DAY)
        line = str(Utterance.objects.get(caller_id=person.id).pk)
        found.append([*(str(row.pk) for row in rows), line])
    own, other = (people.find(number) for number in numbers)
    assert own is not None
    assert other is not None
    names = ("", numbers[0], str(own.id), numbers[1], str(other.id), other.key_hash, "%", "*", f"CA-{numbers[1]}")
    return Scene(own, other, numbers[1], token(own, rate_per_minute=100_000), names, tuple(found[0] + found[1]))


#: A call as indices into what a scene has, so that it can be drawn before there is one.
PLACE = st.integers(0, 8)
CALLS = st.one_of(
    st.tuples(st.just("memory_search"), st.fixed_dictionaries({"query": st.sampled_from(["nuts", "allergic", "who am I", "CA-"]), "limit": st.sampled_from([1, 50])})),
    st.tuples(st.just("memory_get"), st.fixed_dictionaries({"id": PLACE})),
    st.tuples(st.just("memory_timeline"), st.sampled_from([{}, {"as_of": "2026-03-03"}, {"known_at": "2030-01-01"}, {"slot": ""}])),
    st.tuples(st.just("memory_profile"), st.just({})),
    st.tuples(st.just("memory_store"), st.fixed_dictionaries({"kind": st.just("fact"), "text": st.sampled_from(["likes nuts", "identity nuts"])})),
    st.tuples(st.just("memory_supersede"), st.fixed_dictionaries({"id": PLACE, "text": st.just("likes figs")})),
    st.tuples(st.just("memory_forget"), st.one_of(st.fixed_dictionaries({"id": PLACE}), st.fixed_dictionaries({"conversation": PLACE}), st.just({"everything": True}))),
    st.tuples(st.just("memory_export"), st.sampled_from([{}, {"begin": 1}])),
    st.tuples(st.just("memory_import"), st.just({})),
    st.tuples(st.just("resources/read"), st.sampled_from([{"kind": "profile"}, {"kind": "summaries"}])),
    st.tuples(st.just("prompts/get"), st.just({})),
)  # fmt: skip


def asked(drawn: tuple[str, dict[str, Any]], whose: int, where: Scene) -> tuple[str, dict[str, Any]]:
    """Method and parameters of a drawn call."""
    name, arguments = drawn
    caller = where.names[whose]
    filled = {
        key: where.ids[value % len(where.ids)]
        if key == "id"
        else f"CA-{where.other_number}" if key == "conversation" else value
        for key, value in arguments.items()
    }  # fmt: skip
    if name == "memory_import":
        line = {"caller": caller, "kind": "fact", "slot": "contact.time", "value": "evening", "text": "evenings"}
        said = {"caller": caller, "conversation": f"CA-{where.other_number}", "role": "user", "text": "nuts"}
        lines = [line, {**said, "said_at": "2026-03-02T12:00:00Z"}]
        return "tools/call", {"name": name, "arguments": {"lines": "\n".join(map(json.dumps, lines))}}
    if name == "resources/read":
        return name, {"uri": f"memory://callers/{caller or where.own.id}/{arguments['kind']}"}
    if name == "prompts/get":
        return name, {"name": "call_briefing", "arguments": {"caller": caller} if caller else {}}
    return "tools/call", {"name": name, "arguments": {**filled, **({"caller": caller} if caller else {})}}


async def ask(wire: Wire, secret: str, requests: list[tuple[str, dict[str, Any]]], together: bool) -> list[str]:
    """The answers, to requests one after the other or all at once."""
    if together:
        answers = await asyncio.gather(*(wire.call(secret, *request) for request in requests))
    else:
        answers = [await wire.call(secret, *request) for request in requests]
    return [answer.text for answer in answers]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(CALLS, st.integers(0, 8)), min_size=3, max_size=8), together=st.booleans())
def test_no_sequence_of_calls_reaches_another_caller(
    served: Served, token: Callable[..., str], calls: list[tuple[Any, int]], together: bool
) -> None:
    where = scene(token)
    before = where.rows_of_other()

    answers = asyncio.run(ask(Wire(served.url), where.secret, [asked(*call, where) for call in calls], together))

    assert not [answer for answer in answers if MARK in answer]
    assert where.rows_of_other() == before


def test_the_test_would_see_it(served: Served, token: Callable[..., str]) -> None:
    """The same calls with a token that may: the mark is then in the answers."""
    where = scene(token)
    secret = token(where.other)
    calls = [
        ("memory_search", {"query": "nuts"}),
        ("memory_get", {"id": 4}),
        ("memory_profile", {}),
        ("prompts/get", {}),
    ]

    answers = asyncio.run(ask(Wire(served.url), secret, [asked(call, 3, where) for call in calls], False))

    assert [MARK in answer for answer in answers] == [True] * len(calls)
