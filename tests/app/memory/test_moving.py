"""A memory in and out: files with broken lines, files taken twice or in halves, and an export that is read back whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from memory import people, selectors
from memory.core.values import Status
from memory.db import erasing
from memory.models import Caller, Conversation, Memory, MemoryEvent, Source, Utterance
from memory.services import correcting, erasure, importing
from memory.services.exporting import export
from memory.services.importing import Failure, Import, Progress
from tests.app.memory.people import DAY, JOHN, MARIA, MONDAY, john, maria

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]

NOW = MONDAY + 10 * DAY


def spoken(text: str, at: int = 0, **fields: Any) -> dict[str, Any]:
    """A line as it is documented."""
    return {
        "caller": MARIA,
        "conversation": "c1",
        "role": "user",
        "text": text,
        "kind": "utterance",
        "said_at": f"2026-03-02T12:{at:02}:00Z",
        "source": "",
        **fields,
    }


def taken(lines: Iterable[dict[str, Any] | str | bytes], **options: Any) -> tuple[Progress, list[Failure]]:
    """Import these lines: the last report, and every failure."""
    raw = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
    reports = list(Import("import:test", NOW, **options).run(raw))
    return reports[-1], [one for report in reports for one in report.failures]


def told(number: str = MARIA) -> list[tuple[int, str, str]]:
    person = people.find(number)
    assert person is not None
    return [(line.seq, line.role, line.text) for line in selectors.lines(person)]


def test_turns_go_in_in_line_order_of_each_conversation_and_are_found() -> None:
    last, failures = taken(
        [
            spoken("Hello!", role="assistant", source="D1:1"),
            spoken("Another talk", conversation="c2", caller=JOHN),
            spoken("I would like a window seat.", 1, source="D1:2"),
            spoken("Noted.", 2, role="agent"),
        ]
    )

    assert (last.said, last.known, last.failed, failures) == (4, 0, 0, [])
    assert told() == [
        (0, "assistant", "Hello!"),
        (1, "user", "I would like a window seat."),
        (2, "assistant", "Noted."),
    ]
    assert told(JOHN) == [(0, "user", "Another talk")]
    assert not Utterance.objects.filter(vector__isnull=True).exists()
    assert set(Conversation.objects.values_list("origin", flat=True)) == {"import"}
    person = people.find(MARIA)
    assert person is not None
    lines = selectors.lines(person)
    assert selectors.labels(person, [line.id for line in lines]) == {lines[0].id: "D1:1", lines[1].id: "D1:2"}


def test_the_same_file_again_changes_nothing_and_half_of_one_is_completed() -> None:
    lines = [spoken("yes", 1), spoken("yes", 1), spoken("no", 2), {**spoken("Plays the cello", 3), "kind": "fact"}]
    taken(lines[:2])

    completed, _ = taken(lines)
    assert (completed.said, completed.facts, completed.known) == (1, 1, 2)
    before = list(Utterance.objects.values()), list(Memory.objects.values()), list(Source.objects.values())
    again, _ = taken(lines)

    assert (again.said, again.facts, again.known) == (0, 0, 4)
    assert (list(Utterance.objects.values()), list(Memory.objects.values()), list(Source.objects.values())) == before
    assert [text for _, _, text in told()] == ["yes", "yes", "no"]


def test_a_later_file_goes_on_with_a_conversation() -> None:
    taken([spoken("Do you like cheese?", role="assistant")])
    taken([spoken("Only on Sundays.", 1)])

    assert [seq for seq, _, _ in told()] == [0, 1]
    found = Utterance.objects.get(seq=1)
    assert Utterance.objects.filter(pk=found.pk, words="cheese").exists(), "what was said before is part of it"


def test_facts_are_entered_as_of_when_they_were_said() -> None:
    fact = {"caller": MARIA, "conversation": "c1", "kind": "preference", "text": "Likes tea", "source": "crm"}
    taken(
        [
            {**fact, "said_at": "2026-01-01T00:00:00Z"},
            {**fact, "slot": "home.place", "value": "Berlin", "said_at": "2026-01-01T00:00:00Z"},
            {**fact, "slot": "home.place", "value": "Bonn", "said_at": "2026-02-01T00:00:00+01:00"},
        ]
    )

    person = people.find(MARIA)
    assert person is not None
    facts = selectors.facts(person)
    assert [(one.value, one.status) for one in facts if one.slot] == [("Bonn", "active"), ("Berlin", "superseded")]
    assert facts[0].valid_from.isoformat() == "2026-01-01T00:00:00+00:00"
    assert {source.by for one in facts for source in one.sources} == {"import:crm"}


BROKEN: list[tuple[str | bytes | dict[str, Any], str]] = [
    ('{"caller": "+1555', "the line is not JSON: Unterminated string starting at at column 12"),
    ("[]", "the line is not an object"),
    ("[" * 100_000, "the line is not JSON that can be read: it is nested too deeply, or a number is too long"),
    (b'{"text": "\xff"}', "the line is not UTF-8: byte 11"),
    ("x" * 1_000_001, "the line has 1000001 bytes; at most 1000000 can be taken"),
    (spoken("secret", kind="rumour"), "kind must be utterance, caller or one of identity, preference, fact, event, commitment, relation, summary"),
    (spoken("secret", role="system"), "role: should be 'user' or 'assistant'"),
    (spoken("x" * 100_000), "text: has 100000 characters; at most 20000 can be taken"),
    (spoken("secret\x00"), "text: has a NUL character at place 7: it cannot be stored"),
    (spoken("secret\ud83d"), "text: has half of a surrogate pair at place 7: it is no character"),
    (spoken("  "), "text: is empty"),
    (spoken("secret", said_at="yesterday"), "said_at: is no date and time such as 2026-03-02T12:00:00Z"),
    (spoken("secret", said_at=1772452800), "said_at: is a number: write a date and time such as 2026-03-02T12:00:00Z"),
    (spoken("secret", said_at="1772452800"), "said_at: is no date and time such as 2026-03-02T12:00:00Z"),
    (spoken("secret", said_at="9999-12-31T23:59:59-05:00"), "said_at: lies outside the calendar"),
    (spoken("secret", said_at="9999-12-31T00:00:00Z"), "said_at: lies in the future"),
    (spoken("secret", said_at="2026-03-13T12:00:01Z", kind="fact"), "said_at: lies in the future"),
    (spoken("secret", said_at="1969-12-31T23:59:59Z"), "said_at: lies before 1970"),
    (spoken("secret", caller="Maria"), "caller: is no number; write it with + and country code"),
    (spoken("secret", caller="(555) 010-0002"), "caller: is no number; write it with + and country code"),
    (spoken("secret", caller="+1 555 010 0002 000 000"), "caller: is no number; write it with + and country code"),
    (spoken("secret", caller="anonymous"), "caller: a withheld number has no memory"),
    (spoken("secret", caller=""), "caller: is empty"),
    (spoken("secret", caller="0190b3d4-7c5e-7cc3-8f1a-000000000000"), "there is no caller with this id"),
    ({"kind": "utterance"}, "caller is missing; conversation is missing; role is missing"),
    (spoken("secret", kind="fact", slot="shoe.size", value="secret"), "there is no slot 'shoe.size'"),
    (spoken("secret", kind="fact", value="secret"), "a value needs a slot"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "why"), BROKEN, ids=[why[:40] for _, why in BROKEN])
def test_a_broken_line_is_named_without_its_content_and_the_rest_goes_in(
    broken: str | bytes | dict[str, Any], why: str
) -> None:
    last, failures = taken([spoken("first"), "", broken, spoken("last", 1)])

    assert failures == [Failure(3, why)]
    assert "secret" not in failures[0].why
    assert (last.lines, last.said, last.failed) == (4, 2, 1)
    assert [text for _, _, text in told()] == ["first", "last"]


def test_a_caller_may_be_named_by_id() -> None:
    taken([spoken("hello", caller=str(maria().id))])

    assert [text for _, _, text in told()] == ["hello"]


def test_what_was_erased_is_not_imported_again() -> None:
    lines = [spoken("hello"), {**spoken("Plays the cello", 1), "kind": "fact"}]
    taken(lines)
    person = people.find(MARIA)
    assert person is not None
    erasure.erase_caller(person, by="caller", now=NOW)

    last, failures = taken(lines)

    assert (last.said, last.facts, last.failed) == (0, 0, 2)
    assert [one.why for one in failures] == ["the caller was erased since"] * 2
    assert people.find(MARIA) is None, "nothing of the caller is made anew, the number least of all"
    later = [spoken("hello again", conversation="c9", said_at=(NOW + DAY / 2).isoformat()), *lines]
    assert taken(later)[1] == [
        Failure(2, "this conversation was erased"),
        Failure(3, "it was forgotten since"),
    ]


def test_nobody_is_made_for_lines_that_are_all_refused() -> None:
    taken([spoken("hello")])
    person = people.find(MARIA)
    assert person is not None
    erasure.erase_caller(person, by="caller", now=NOW)
    later = (NOW + DAY / 2).isoformat()

    # Said later than the erasure, so not refused for their caller; but the conversation and the fact are.
    last, failures = taken(
        [spoken("hello", said_at=later), spoken("x", kind="fact", slot="shoe.size", value="x", said_at=later)]
    )

    assert (last.taken, [one.line for one in failures]) == (0, [1, 2])
    assert not Caller.objects.exists()
    last, _ = taken(
        [{"caller": MARIA, "kind": "caller", "locale": "de"}, spoken("hello", conversation="c9", said_at=later)]
    )
    assert (last.taken, last.failed) == (1, 1), "settings have no time, so they are from before"
    assert told() == [(0, "user", "hello")]


def test_settings_alone_are_kept() -> None:
    last, _ = taken([{"caller": JOHN, "kind": "caller", "locale": "de"}])

    assert (last.taken, last.failed) == (1, 0)
    person = people.find(JOHN)
    assert person is not None
    assert person.locale == "de"


def test_a_carriers_address_is_a_caller() -> None:
    taken([spoken("hello", caller="sip:maria@example.com"), spoken("hi", caller="client:desk")])

    assert told("sip:maria@example.com") == [(0, "user", "hello")]
    assert told("client:desk") == [(0, "user", "hi")]


def test_an_interrupted_import_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 5)
    lines = [json.dumps(spoken(f"line {place}", place)) for place in range(12)]
    first = Import("import:test", NOW).run(lines)
    assert next(first).said == 5
    first.close()

    reports = list(Import("import:test", NOW).run(lines))

    assert [report.lines for report in reports[:3]] == [5, 10, 12]
    assert (reports[-1].said, reports[-1].known) == (7, 5)
    assert [text for _, _, text in told()] == [f"line {place}" for place in range(12)]
    assert not Utterance.objects.filter(vector__isnull=True).exists()


# --- out, and back in -------------------------------------------------------------------------------------------------


def a_life() -> None:
    """A caller with a conversation, and facts that were corrected, replaced, retracted and quoted."""
    taken([spoken("Hello", role="assistant"), spoken("I live in Berlin.", 1, source="D1:2"), {"caller": MARIA, "kind": "caller", "locale": "de", "retention_days": 30}])  # fmt: skip
    person = people.find(MARIA)
    assert person is not None
    old = correcting.store(person, "", "", slot="home.place", value="Berlin", by="operator:ann", now=NOW)
    said = Utterance.objects.get(seq=1)
    Source.objects.create(caller_id=person.id, memory_id=old.id, utterance=said, start=10, end=16)
    correcting.supersede(person, old.id, "", "Bonn", by="operator:ann", now=NOW + DAY)
    wrong = correcting.store(person, "fact", "Plays the viola", by="token:crm", now=NOW)
    right = correcting.supersede(person, wrong.id, "Plays the cello", by="operator:ann", now=NOW + DAY, was_wrong=True)
    correcting.retract(person, right.id, by="operator:ann", now=NOW + 2 * DAY)


def picture() -> list[dict[str, Any]]:
    """The export without what a new row must have of its own."""
    person = people.find(MARIA)
    assert person is not None
    lines = list(export(person))
    names = {line["life"]["id"]: line["text"] for line in lines if "life" in line}
    for line in lines:
        if "life" in line:
            del line["life"]["id"]
            line["life"]["superseded_by"] = names.get(line["life"]["superseded_by"], "")
            line["life"]["sources"].sort(key=str)
            line["source"] = line["conversation"] = line["said_at"] = ""
    return sorted(lines, key=lambda line: (line["kind"], line.get("text", "")))


def test_an_export_read_back_is_the_same_memory() -> None:
    a_life()
    person = people.find(MARIA)
    assert person is not None
    before, lines = picture(), [json.dumps(line) for line in export(person)]
    assert len(lines) == 1 + 2 + 4
    with erasing():
        Caller.objects.all().delete()

    last, failures = taken(lines)

    assert failures == []
    assert (last.said, last.facts) == (2, 4)
    assert picture() == before
    again, _ = taken(lines)
    assert (again.said, again.facts, again.known) == (0, 0, 7)
    assert picture() == before
    assert MemoryEvent.objects.filter(what="corrected").count() == 1


def test_an_export_read_into_another_memory_says_what_it_contradicts() -> None:
    a_life()
    person = people.find(MARIA)
    assert person is not None
    lines = [json.dumps(line) for line in export(person) if line.get("slot")]
    with erasing():
        Caller.objects.all().delete()
    correcting.store(maria(), "", "", slot="home.place", value="Ulm", by="operator:ann", now=NOW + DAY / 2)

    _, failures = taken(lines)

    assert {one.why for one in failures} == {
        "another value of this slot, or the same fact, is known here for that time"
    }
    active = Memory.objects.filter(status=Status.ACTIVE.value).values_list("slot", flat=True)
    assert list(active) == ["home.place"]


def test_a_forgotten_fact_does_not_come_back_with_an_export() -> None:
    a_life()
    person = people.find(MARIA)
    assert person is not None
    lines = [json.dumps(line) for line in export(person)]
    bonn = next(one for one in selectors.facts(person) if one.value == "Bonn")
    erasure.forget_fact(person, bonn.id, by="caller", now=NOW + 5 * DAY)

    _, failures = taken(lines)

    assert {one.why for one in failures} == {"it was forgotten since"}
    assert {one.slot for one in selectors.facts(person)} == {""}


def test_an_export_has_one_caller_only() -> None:
    a_life()
    taken([spoken("mine alone", caller=JOHN)])

    text = json.dumps(list(export(john())))

    assert "mine alone" in text
    assert MARIA not in text
    assert "Berlin" not in text
