"""The lives of facts: what the merge decides, and what must hold whatever comes in whatever order."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.core import slots
from memory.core.decisions import (
    Add,
    Ask,
    Decision,
    Dispute,
    Ignore,
    Reinforce,
    Retract,
    Supersede,
    Verdict,
    Why,
    apply,
)
from memory.core.merge import Merging, merge, settle
from memory.core.values import Candidate, Kind, Known, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OPERATOR = "operator:ada"
DAY_ONE = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = DAY_ONE + timedelta(days=1000)


def day(number: int) -> datetime:
    return DAY_ONE + timedelta(days=number)


def said(
    slot: str, value: str, *, seq: int = 1, firm: float = 0.9, retracts: bool = False, **more: object
) -> Candidate:
    found = slots.find(slot)
    text = value if found is None else f"{slot}: {value}"
    more.setdefault("quote", value or text)
    kind = found.kind if found else Kind.FACT
    fields = {
        "slot": slot,
        "value": value if slot else "",
        "firm": firm,
        "retracts": retracts,
        "extractor": "rules-1",
    } | more
    return Candidate(kind, text, seq, **fields)  # type: ignore[arg-type]


class Memory:
    """A caller's facts, merged call by call."""

    def __init__(self) -> None:
        self.facts: list[Known] = []
        self.ids = (f"fact-{number}" for number in itertools.count())

    def how(self, call: str, on: int, seqs: Iterable[int] = range(20), **more: object) -> Merging:
        times = {seq: day(on) + timedelta(seconds=seq) for seq in seqs}
        return Merging(call, times, NOW, lambda: next(self.ids), **more)  # type: ignore[arg-type]

    def hear(self, call: str, on: int, *candidates: Candidate, **more: object) -> list[Decision]:
        decisions = merge(self.facts, candidates, self.how(call, on, **more))
        self.facts = apply(self.facts, decisions, call)
        return decisions

    def active(self, slot: str) -> list[str]:
        return sorted(fact.value for fact in self.facts if fact.slot == slot and fact.status is Status.ACTIVE)

    def on(self, slot: str, number: int) -> list[str]:
        """What was true at the end of a day."""
        at = day(number) + timedelta(hours=1)
        return [
            fact.value
            for fact in self.facts
            if fact.slot == slot and fact.status is not Status.DISPUTED and fact.valid_from and fact.valid_from <= at
            and (fact.valid_to is None or at < fact.valid_to)
        ]  # fmt: skip


def test_a_new_fact_is_added_with_its_source_and_its_expiry() -> None:
    memory = Memory()
    [added] = memory.hear("CA1", 0, said("likes", "olive", quote="I love eating olives", start=3, end=23))
    assert type(added) is Add
    assert added.expires_at == day(0) + timedelta(seconds=1, days=1095)
    [fact] = memory.facts
    assert (fact.origin.conversation, fact.origin.seq, fact.origin.start, fact.origin.quote) == (
        "CA1",
        1,
        3,
        "I love eating olives",
    )
    assert fact.sources == {("CA1", 1)}
    assert (fact.status, fact.valid_from, fact.valid_to) == (Status.ACTIVE, day(0) + timedelta(seconds=1), None)


def test_the_same_value_again_reinforces_and_renews() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("likes", "olive", firm=0.8, importance=0.4))
    [again] = memory.hear("CA2", 9, said("likes", "olive", firm=0.8, importance=0.7))
    assert isinstance(again, Reinforce)
    [fact] = memory.facts
    assert fact.confidence == pytest.approx(0.88)
    assert fact.importance == 0.7
    assert fact.said_at == day(9) + timedelta(seconds=1)
    assert fact.valid_from == day(0) + timedelta(seconds=1)
    assert fact.expires_at == day(9) + timedelta(seconds=1, days=1095)
    assert fact.sources == {("CA1", 1), ("CA2", 1)}


def test_confidence_stays_below_certainty_but_an_operators_certainty_stays() -> None:
    memory = Memory()
    for call in range(30):
        memory.hear(f"CA{call}", call, said("seating", "window"))
    assert memory.facts[0].confidence == 0.99
    memory.facts = [
        Known(
            "op", Kind.PREFERENCE, "x", slot="seating", value="bar", confidence=1.0, extractor=OPERATOR, said_at=day(0)
        )
    ]
    memory.hear("CA", 5, said("seating", "bar"))
    assert memory.facts[0].confidence == 1.0


def test_another_value_supersedes_and_the_day_before_still_has_the_old_one() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("identity.name", "Maria"))
    [change] = memory.hear("CA2", 10, said("identity.name", "Marta"))
    assert isinstance(change, Supersede)
    assert change.ends == ("fact-0",)
    assert memory.active("identity.name") == ["Marta"]
    assert memory.on("identity.name", 5) == ["Maria"]
    assert memory.on("identity.name", 10) == ["Marta"]
    assert [fact.status for fact in memory.facts] == [Status.SUPERSEDED, Status.ACTIVE]


def test_half_a_name_reinforces_the_whole_one_and_a_whole_one_takes_its_place() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("identity.name", "Maria"))
    memory.hear("CA2", 1, said("identity.name", "Maria Rossi"))
    for call, name in enumerate(("Maria", "Ms Rossi", "rossi")):
        [again] = memory.hear(f"CA{call + 3}", call + 2, said("identity.name", name))
        assert isinstance(again, Reinforce)
        assert memory.hear(f"CA{call + 3}", call + 2, said("identity.name", name)) == [
            Ignore(again.candidate, Why.ALREADY)
        ]
    assert memory.active("identity.name") == ["Maria Rossi"]
    memory.hear("CA9", 9, said("identity.name", "Marta Rossi"))
    memory.hear("CA9", 9, said("identity.name", "Mr", seq=2))
    assert memory.active("identity.name") == ["Mr"]


def test_a_correction_within_one_call_leaves_the_corrected_value() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("identity.name", "Marta", seq=5), said("identity.name", "Maria", seq=3))
    assert memory.active("identity.name") == ["Marta"]


def test_many_values_live_side_by_side_and_one_is_taken_back() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("health.allergy", "nut"), said("health.allergy", "egg"))
    assert memory.active("health.allergy") == ["egg", "nut"]
    [taken_back] = memory.hear("CA2", 5, said("health.allergy", "egg", retracts=True))
    assert isinstance(taken_back, Retract)
    assert memory.active("health.allergy") == ["nut"]
    memory.hear("CA3", 6, said("health.allergy", "", retracts=True))
    assert memory.active("health.allergy") == []
    memory.hear("CA4", 7, said("health.allergy", "egg"))
    assert memory.active("health.allergy") == ["egg"]


@pytest.mark.parametrize("value", ["vegetarian", ""])
def test_what_is_true_no_more_ends(value: str) -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("diet.preference", "vegetarian"))
    memory.hear("CA2", 5, said("diet.preference", value, retracts=True))
    assert memory.active("diet.preference") == []
    assert memory.on("diet.preference", 3) == ["vegetarian"]
    # The older call comes late a second time, from before it was taken back.
    memory.hear("CA0", 2, said("diet.preference", "vegetarian"))
    assert memory.active("diet.preference") == []


def test_said_again_in_the_moment_of_taking_it_back_it_holds() -> None:
    memory = Memory()
    how = Merging("CA1", {1: day(1), 2: day(1)}, NOW, lambda: next(memory.ids))
    candidates = [said("diet.preference", "vegan", seq=1, retracts=True), said("diet.preference", "vegan", seq=2)]
    memory.facts = apply([], merge([], candidates, how), "CA1")
    assert memory.active("diet.preference") == ["vegan"]


def test_taking_back_what_was_said_again_later_does_nothing() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("diet.preference", "vegan"))
    memory.hear("CA3", 9, said("diet.preference", "vegan"))
    [late] = memory.hear("CA2", 5, said("diet.preference", "vegan", retracts=True))
    assert late == Ignore(late.candidate, Why.SAID_AGAIN_LATER)
    assert memory.active("diet.preference") == ["vegan"]


def test_a_retraction_that_comes_first_ends_the_older_call_that_comes_later() -> None:
    memory = Memory()
    memory.hear("CA2", 5, said("diet.preference", "vegan", retracts=True))
    [late] = memory.hear("CA1", 0, said("diet.preference", "vegan"))
    assert isinstance(late, Add)
    assert (late.status, late.valid_to) == (Status.RETRACTED, day(5) + timedelta(seconds=1))
    assert memory.active("diet.preference") == []
    assert memory.on("diet.preference", 3) == ["vegan"]


def test_an_older_call_that_is_archived_later_goes_into_the_history() -> None:
    memory = Memory()
    memory.hear("CA2", 10, said("contact.phone", "5550102"))
    [late] = memory.hear("CA1", 3, said("contact.phone", "5550101"))
    assert isinstance(late, Add)
    assert (late.status, late.superseded_by, late.valid_to) == (
        Status.SUPERSEDED,
        "fact-0",
        day(10) + timedelta(seconds=1),
    )
    assert memory.active("contact.phone") == ["5550102"]
    assert memory.on("contact.phone", 5) == ["5550101"]
    [between] = memory.hear("CA3", 6, said("contact.phone", "5550103"))
    assert isinstance(between, Add)
    assert between.ends == (late.id,)
    assert [memory.on("contact.phone", number) for number in (4, 7, 11)] == [["5550101"], ["5550103"], ["5550102"]]


def test_an_older_saying_of_the_next_value_only_moves_its_beginning() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("seating", "window"))
    memory.hear("CA3", 9, said("seating", "bar"))
    [late] = memory.hear("CA2", 5, said("seating", "bar"))
    assert isinstance(late, Reinforce)
    assert late.ends == ("fact-0",)
    assert [memory.on("seating", number) for number in (1, 6)] == [["window"], ["bar"]]
    assert len(memory.facts) == 2


def test_what_was_said_differently_before_and_after_never_held() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("seating", "window"))
    memory.hear("CA3", 9, said("seating", "window"))
    [late] = memory.hear("CA2", 5, said("seating", "bar"))
    assert isinstance(late, Add)
    assert late.valid_from == late.valid_to
    assert memory.active("seating") == ["window"]


def test_a_late_value_ends_at_its_retraction_and_not_at_a_still_later_fact() -> None:
    memory = Memory()
    memory.hear("CA9", 9, said("diet.preference", "vegan"))
    memory.hear("CA5", 5, said("diet.preference", "halal", retracts=True))
    [late] = memory.hear("CA1", 1, said("diet.preference", "halal"))
    assert isinstance(late, Add)
    assert (late.status, late.valid_to) == (Status.RETRACTED, day(5) + timedelta(seconds=1))


def test_a_less_sure_contradiction_is_disputed_and_an_operators_word_stands() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("identity.name", "Maria", firm=0.95))
    [doubt] = memory.hear("CA2", 1, said("identity.name", "Marty", firm=0.6))
    assert isinstance(doubt, Dispute)
    assert doubt.against == "fact-0"
    assert memory.active("identity.name") == ["Maria"]
    [again] = memory.hear("CA3", 2, said("identity.name", "Marty", firm=0.6))
    assert isinstance(again, Reinforce)
    assert again.fact_id == doubt.id
    memory.hear("console", 3, said("identity.name", "Mara", extractor=OPERATOR, firm=1.0))
    assert memory.active("identity.name") == ["Mara"]
    [caller] = memory.hear("CA4", 4, said("identity.name", "Maria", firm=0.95))
    assert isinstance(caller, Dispute)
    memory.hear("console", 5, said("identity.name", "Marla", extractor=OPERATOR, firm=0.5))
    assert memory.active("identity.name") == ["Marla"]


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (said("no.such.slot", "x"), Why.UNKNOWN_SLOT),
        (said("identity.name", ""), Why.NO_VALUE),
    ],
)
def test_what_cannot_be_a_fact_is_ignored_with_its_reason(candidate: Candidate, why: Why) -> None:
    assert Memory().hear("CA1", 0, candidate) == [Ignore(candidate, why)]


def test_a_free_fact_out_of_words_that_already_filled_a_slot_is_ignored() -> None:
    memory = Memory()
    slotted = said("health.allergy", "nut", quote="I'm allergic to nuts")
    decisions = memory.hear("CA1", 0, said("", "Allergic to nuts", quote="allergic to nuts"), slotted)
    assert [type(one) for one in decisions] == [Add, Ignore]
    elsewhere = said("", "Allergic to nuts", quote="allergic to nuts", seq=2)
    assert [type(one) for one in memory.hear("CA1", 0, elsewhere)] == [Add]


def test_what_was_forgotten_comes_back_only_when_it_is_said_again() -> None:
    memory = Memory()
    number = said("contact.phone", "5550101")

    def forgotten(one: Candidate, at: datetime) -> bool:
        return one.value == "5550101" and at <= day(5)

    assert memory.hear("CA1", 0, number, forgotten=forgotten) == [Ignore(number, Why.FORGOTTEN)]
    assert [type(one) for one in memory.hear("CA2", 6, number, forgotten=forgotten)] == [Add]


def test_words_in_another_case_are_the_same_free_fact() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("", "The gate code is 4711"))
    memory.hear("CA2", 1, said("", "the gate-code is 4711!"))
    assert len(memory.facts) == 1


def test_what_was_said_in_the_future_was_said_now() -> None:
    memory = Memory()
    [added] = memory.hear("CA1", 2000, said("seating", "bar"))
    assert isinstance(added, Add)
    assert added.said_at == NOW


def test_a_fact_may_have_begun_before_it_was_said_where_others_cannot_exclude_it() -> None:
    memory = Memory()
    memory.hear("CA1", 9, said("health.allergy", "nut", valid_from=day(2)), said("seating", "bar", valid_from=day(2)))
    memory.hear("CA1", 9, said("health.allergy", "egg", valid_from=day(20)))
    assert [fact.valid_from for fact in memory.facts] == [
        day(2),
        day(9) + timedelta(seconds=1),
        day(9) + timedelta(seconds=1),
    ]


def test_an_event_expires_when_its_day_is_over() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("commitment", "call back", valid_to=day(4)))
    assert memory.facts[0].expires_at == day(4)


def test_a_fact_without_any_time_is_an_error_that_names_it() -> None:
    memory = Memory()
    memory.facts = [Known("lost", Kind.PREFERENCE, "x", slot="seating", value="bar")]
    with pytest.raises(ValueError, match="fact lost has neither"):
        memory.hear("CA1", 0, said("seating", "window"))


# Near duplicates.


def near(pairs: Sequence[tuple[str, float]]) -> Mapping[str, object]:
    return {"near": lambda _one, _facts: pairs}


def test_only_near_active_facts_are_put_to_the_model_the_nearest_first() -> None:
    memory = Memory()
    for number, text in enumerate(("Has a garden", "Grows roses", "Keeps bees", "Has a pond", "Sold the car")):
        memory.hear("CA1", 0, said("", text, seq=number))
    memory.facts[3] = Known("fact-3", Kind.FACT, "Has a pond", status=Status.RETRACTED, said_at=day(0))
    pairs = [("fact-1", 0.8), ("fact-0", 0.9), ("fact-4", 0.5), ("fact-3", 0.99), ("gone", 0.99)]
    [ask] = memory.hear("CA2", 1, said("", "There is a garden with roses"), **near(pairs))
    assert isinstance(ask, Ask)
    assert ask.pairs == (("fact-0", 0.9), ("fact-1", 0.8))
    [added] = memory.hear("CA2", 1, said("", "There is a car"), **near([("fact-4", 0.74)]))
    assert type(added) is Add


@pytest.mark.parametrize(
    ("verdict", "firm", "on", "becomes", "texts"),
    [
        (Verdict.SAME, 0.9, 5, Reinforce, ["Has a garden"]),
        (Verdict.REFINES, 0.9, 5, Supersede, ["Has a rose garden"]),
        (Verdict.SUPERSEDES, 0.9, 5, Supersede, ["Has a rose garden"]),
        (Verdict.CONTRADICTS, 0.9, 5, Supersede, ["Has a rose garden"]),
        (Verdict.CONTRADICTS, 0.5, 5, Dispute, ["Has a garden"]),
        (Verdict.UNRELATED, 0.9, 5, Add, ["Has a garden", "Has a rose garden"]),
        (Verdict.SAME, 0.9, -5, Reinforce, ["Has a garden"]),
        (Verdict.SUPERSEDES, 0.9, -5, Add, ["Has a garden"]),
    ],
)
def test_a_verdict_decides(verdict: Verdict, firm: float, on: int, becomes: type, texts: list[str]) -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("", "Has a garden"))
    candidate = said("", "Has a rose garden", firm=firm)
    [ask] = memory.hear("CA2", on, candidate, **near([("fact-0", 0.9)]))
    assert isinstance(ask, Ask)
    decision = settle(memory.facts, ask, {"fact-0": verdict}, memory.how("CA2", on))
    assert type(decision) is becomes
    memory.facts = apply(memory.facts, [decision], "CA2")
    assert [fact.text for fact in memory.facts if fact.status is Status.ACTIVE] == texts
    # The same call again, word for word, and worded anew.
    for again in (candidate, said("", "There is a garden of roses", firm=firm)):
        assert memory.hear("CA2", on, again, **near([(fact.id, 0.9) for fact in memory.facts])) == [
            Ignore(again, Why.ALREADY)
        ]


def test_the_weightiest_verdict_wins_and_no_verdict_leaves_two_facts() -> None:
    memory = Memory()
    memory.hear("CA1", 0, said("", "Has a garden", seq=1), said("", "Grows roses", seq=2))
    ask = Ask(said("", "Grows roses in the garden"), (("fact-0", 0.9), ("fact-1", 0.8), ("gone", 0.8)))
    how = memory.how("CA2", 3)
    weighed = settle(memory.facts, ask, {"fact-0": Verdict.UNRELATED, "fact-1": Verdict.REFINES}, how)
    assert isinstance(weighed, Supersede)
    assert weighed.ends == ("fact-1",)
    assert type(settle(memory.facts, ask, {}, how)) is Add
    assert apply(memory.facts, [ask], "CA2") == memory.facts


# What must hold whatever is said.

SINGLE, MANY = ("identity.name", "seating"), ("health.allergy", "diet.avoid")
statements = st.builds(
    said,
    st.sampled_from([*SINGLE, *MANY, ""]),
    st.sampled_from(["a", "b", "c", "a b"]),
    seq=st.integers(0, 5),
    firm=st.sampled_from([0.4, 0.9, 0.95]),
    retracts=st.booleans(),
    extractor=st.sampled_from(["rules-1", "rules-1", "rules-1", OPERATOR]),
)
calls = st.lists(st.tuples(st.integers(0, 30), st.lists(statements, max_size=4)), max_size=7)


def held(facts: Iterable[Known], slot: str, value: str | None = None) -> list[Known]:
    return [
        fact
        for fact in facts
        if fact.slot == slot
        and fact.status is not Status.DISPUTED
        and value in (None, fact.value)
        and fact.valid_from != fact.valid_to
    ]


def overlap(facts: Sequence[Known]) -> bool:
    spans = sorted((fact.valid_from or NOW, fact.valid_to or datetime.max.replace(tzinfo=UTC)) for fact in facts)
    return any(start >= end for start, end in spans) or any(
        left[1] > right[0] for left, right in itertools.pairwise(spans)
    )


@settings(max_examples=300, deadline=None)
@given(calls)
def test_at_most_one_value_holds_at_a_time_and_a_second_run_changes_nothing(
    conversations: list[tuple[int, list[Candidate]]],
) -> None:
    memory = Memory()
    for number, (on, candidates) in enumerate(conversations):
        memory.hear(f"CA{number}", on, *candidates)
        for slot in SINGLE:
            assert len(memory.active(slot)) <= 1
            assert not overlap(held(memory.facts, slot))
        for slot, value in itertools.product(MANY, ("a", "b", "c", "a b")):
            assert not overlap(held(memory.facts, slot, value))
        for fact in memory.facts:
            assert (fact.valid_to is None) or fact.status is not Status.ACTIVE
            assert fact.sources
    before = sorted(memory.facts, key=lambda fact: fact.id)
    for number, (on, candidates) in reversed(list(enumerate(conversations))):
        decisions = memory.hear(f"CA{number}", on, *candidates)
        assert all(isinstance(one, Ignore) for one in decisions), decisions
    assert sorted(memory.facts, key=lambda fact: fact.id) == before


plain = st.builds(
    said,
    st.sampled_from([*SINGLE, *MANY]),
    st.sampled_from(["a", "b", "c"]),
    retracts=st.sampled_from([False, False, True]),
)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(plain, min_size=1, max_size=6))
def test_the_order_of_archiving_does_not_decide_what_is_current(
    data: st.DataObject, statements_by_day: list[Candidate]
) -> None:
    in_order, shuffled = Memory(), Memory()
    told = list(enumerate(statements_by_day))
    for on, candidate in told:
        in_order.hear(f"CA{on}", on, candidate)
    for on, candidate in data.draw(st.permutations(told)):
        shuffled.hear(f"CA{on}", on, candidate)
    for slot in (*SINGLE, *MANY):
        assert shuffled.active(slot) == in_order.active(slot), slot
