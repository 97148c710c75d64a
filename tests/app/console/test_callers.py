"""Callers and memory: who may look and change, what a change leaves behind, and whose entries nobody reaches."""

from __future__ import annotations

import io
import json
import struct
import uuid
import wave
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from calls import surroundings as calls_surroundings
from calls.models import Call, Recording, Turn
from memory import overview, people, selectors, surroundings
from memory.core.values import Said
from memory.manager import current
from memory.models import Access, Caller, ErasureRequest, Tombstone
from memory.services import cards, correcting, erasure, forgetting, tombstones
from memory.services.embedding import embed_caller
from memory.services.writing import write_conversation
from memory.tasks import finish_erasures
from tests.app.memory.changes import changes_of
from tests.app.memory.operators import account
from tests.app.memory.people import DAY, MARIA, MONDAY, john, maria
from tests.app.memory.talks import FIRST, SECOND, heard, talk
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.http import HttpResponse
    from django.test import Client

    from memory.people import Person

    As = Callable[[str], Client]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]

HOSTILE = "<script>alert(1)</script> \u202egnitirw\u202c " + "x" * 10_000
BASE = "/console/callers/"
STEWARD, REVIEWER, VIEWER = "memory steward", "reviewer", "viewer"


@pytest.fixture
def known(db: None, redis_url: str) -> Person:
    """Maria: a call with a turn that recalled, a name, a fact that was heard, and a card."""
    person = maria()
    talk(person)
    correcting.store(person, "", "", slot="identity.name", value="Maria Rossi", by="operator:ann", now=MONDAY)
    fact = heard(
        person, "Customer number: 4711X", (FIRST, "4711 X"), value="4711X", slot="identity.account", single=True
    )
    heard(person, "Allergic to peanuts", (FIRST, "I like the window"), slot="health.allergy", value="peanuts")
    call = Call.objects.create(
        call_sid=FIRST, caller_key=person.key_hash, from_number=MARIA, status="ended", end_reason="caller_hung_up",
        started_at=MONDAY, ended_at=MONDAY + DAY / 1440, archived_at=MONDAY + DAY,
    )  # fmt: skip
    item = {"id": str(fact.pk), "in_prompt": True, "score_milli": 812, "why_not": ""}
    Turn.objects.create(call=call, number=3, kind="speech", outcome="answered", recalled={"items": [item]})
    cards.build(person, now=MONDAY)
    return person


def url(person: Person, *rest: object, **query: str) -> str:
    path = f"{BASE}{person.id}/" + "".join(f"{one}/" for one in rest)
    return path + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")


def html(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.headers
    return str(response.content.decode())


def fact(person: Person, slot: str = "identity.account") -> selectors.Fact:
    return selectors.facts(person, slot=slot, forgotten=True)[0]


def act(client: Client, person: Person, name: str, fact_id: str, **typed: Any) -> HttpResponse:
    return client.post(url(person, "entries", fact_id, name), typed)  # type: ignore[return-value]


# --- looking ----------------------------------------------------------------------------------------------------------


def test_callers_are_found_and_paged_by_what_was_seen_last(as_role: As, known: Person) -> None:
    for number in range(60):
        other = people.ensure(f"+155502{number + 1000:05d}")
        Caller.objects.filter(pk=other.id).update(last_seen_at=MONDAY - DAY * (1 + number // 2))
    client = as_role(VIEWER)

    first = html(client.get(BASE))
    assert "+1 •••• ••0001" in first
    assert MARIA not in first
    assert first.count("data-open") == 50
    after = overview.page_of(Caller.objects.all(), None, 50)[-1]
    second = html(client.get(BASE, {"after": f"{after.seen.isoformat()}_{after.pk}"}))
    assert second.count("data-open") == 11
    assert html(client.get(BASE, {"after": "nonsense"})).count("data-open") == 50

    for asked in ("0001", MARIA, "rossi", FIRST, known.key_hash, str(known.id)):
        found = html(client.get(BASE, {"q": asked}))
        assert (found.count("data-open"), str(known.id) in found) == (1, True), asked
    assert "No caller fits" in html(client.get(BASE, {"q": "+15559999999"}))


def test_a_page_says_what_is_believed_and_why(as_role: As, known: Person) -> None:
    page = html(as_role(STEWARD).get(url(known, entry=account(known))))

    assert "Maria" in page
    assert "call of 2 Mar 2026, turn 0" in page
    assert f"/console/calls/{FIRST}/?turn=3" in page, "where it was used"
    assert "score 0.81, told to the model" in page
    assert "caller hung up" in page.lower()
    assert MARIA not in page
    assert Access.objects.filter(action="see caller", caller_hash=known.key_hash, outcome="done").count() == 1


def test_viewers_read_it_without_numbers_and_health(as_role: As, known: Person) -> None:
    heard(known, "Customer number: 4711 2233 44", slot="household.pet")
    seen, read = (html(as_role(role).get(url(known, tab="all"))) for role in (VIEWER, REVIEWER))
    assert "4711 2233 44" not in seen
    assert "4711 2233 44" in read
    assert "peanuts" not in seen
    assert "[sensitive]" in seen
    assert "Allergic to peanuts" in read


def test_entries_are_searched_by_words_and_by_meaning(as_role: As, known: Person) -> None:
    embed_caller(known)
    client = as_role(REVIEWER)
    words = html(client.get(url(known, q="who+is+rossi")))
    assert "by words: “rossi”" in words
    assert "<mark>Rossi</mark>" in words
    assert 'id="entry-' in words
    meaning = html(client.get(url(known, q="nuts+make+me+ill", by="meaning")))
    assert "near in meaning; no word in common" in meaning
    ranked = meaning.split('class="entries"')[1]
    assert ranked.index("Allergic to peanuts") < ranked.index("Customer number")
    assert "No entry fits" in html(client.get(url(known, q="zeppelin")))


def test_hostile_words_are_shown_and_not_run(as_role: As, known: Person) -> None:
    heard(known, HOSTILE, (FIRST, "I like the window"))
    page = html(as_role(STEWARD).get(url(known)))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "x" * 2_500 not in page
    found = html(as_role(VIEWER).get(BASE, {"q": HOSTILE}))
    assert "<script>alert" not in found


def test_raw_values_and_the_number_are_for_those_who_may(as_role: As, known: Person) -> None:
    assert "Raw values" not in html(as_role(STEWARD).get(url(known)))
    assert "Raw values" in html(as_role("engineer").get(url(known)))
    assert f'data-caller="{known.id}"' in html(as_role(REVIEWER).get(url(known)))
    assert "data-reveal" not in html(as_role(VIEWER).get(url(known)))
    shown = as_role(REVIEWER).post("/console/reveal/", {"caller": str(known.id)})
    assert shown.json() == {"number": MARIA}
    assert AuditEntry.objects.get(action="number.revealed").entry == f"caller {known.id}"


def test_five_seconds_are_heard_of_ones_own_recording_on_record(
    as_role: As, known: Person, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = str(tmp_path)
    folder = calls_surroundings.recordings_dir()
    with wave.open(str(folder / "one.wav"), "wb") as sound:
        sound.setnchannels(2), sound.setsampwidth(2), sound.setframerate(8000)
        sound.writeframes(b"".join(struct.pack("<hh", second, second) * 8000 for second in range(8)))
    Recording.objects.create(
        call=Call.objects.get(), file="one.wav", duration_ms=8000, size_bytes=256_044, sha256="0" * 64
    )
    assert "Five seconds at 0:01.0" in html(as_role(REVIEWER).get(url(known)))
    assert "Five seconds" not in html(as_role(VIEWER).get(url(known)))

    heard_part = as_role(REVIEWER).get(url(known, "heard", call=FIRST, at="1200"))

    with wave.open(io.BytesIO(heard_part.content)) as part:
        assert (part.getnframes(), part.getnchannels(), part.getframerate()) == (40_000, 2, 8000)
        frames = part.readframes(40_000)
    assert (struct.unpack_from("<h", frames)[0], struct.unpack_from("<h", frames, len(frames) - 4)[0]) == (1, 5)
    assert AuditEntry.objects.get(action="recording.played").call_sid == FIRST
    for at in ("-1", "x", "9" * 12):
        assert as_role(REVIEWER).get(url(known, "heard", call=FIRST, at=at)).status_code == 404
    assert as_role(REVIEWER).get(url(john(), "heard", call=FIRST, at="0")).status_code == 404


# --- changing ---------------------------------------------------------------------------------------------------------


NEEDED = {
    ("probe",): "see_unredacted",
    ("heard",): "hear_recording",
    ("add",): "change_memory",
    ("merge",): "change_memory",
    ("apart",): "change_memory",
    ("keeping",): "forget_memory",
    ("erase",): "erase_caller",
    ("export",): "export_caller",
    **{("entries", uuid.uuid4(), name): "change_memory" for name in ("correct", "pin", "unpin", "expire")},
    **{("entries", uuid.uuid4(), name): "forget_memory" for name in ("forget", "restore")},
}


def test_whoever_may_not_is_refused_and_changes_nothing(as_role: As, known: Person) -> None:
    viewer = as_role(VIEWER)
    for path, needed in NEEDED.items():
        for answer in (
            viewer.get(url(known, *path)),
            viewer.post(url(known, *path), {"digits": "0001", "reason": "why"}),
        ):
            assert answer.status_code == 403, path
            assert f"console.{needed}" in answer.text, path
    assert as_role("admin").get(url(known, "add")).status_code == 405
    assert not AuditEntry.objects.exists()
    assert not ErasureRequest.objects.exists()


def test_a_correction_makes_a_chain_and_an_audit_entry_and_reaches_calls(
    as_role: As, known: Person, django_capture_on_commit_callbacks: Any
) -> None:
    old = fact(known)
    with surroundings.redis_client() as redis, changes_of(redis, known.id) as told:
        with django_capture_on_commit_callbacks(execute=True):
            typed = {"seen": old.version, "text": "4712X", "how": "wrong", "reason": "typo"}
            assert act(as_role(STEWARD), known, "correct", old.id, **typed).status_code == 302
        assert told() == "changed"

    new = fact(known)
    assert new.value == "4712X"
    (was,) = [one for one in selectors.facts(known) if one.id == old.id]
    assert (was.superseded_by, was.text) == (new.id, old.text), "nothing is overwritten"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.reason, entry.username) == ("memory.corrected", "typo", "memory-steward")
    assert entry.before[0]["entry"] == old.id
    assert entry.after[0]["entry"] == new.id
    assert "4711" not in json.dumps([entry.before, entry.after]), "never a word of it"
    page = html(as_role(STEWARD).get(url(known, entry=new.id)))
    assert "<del>4711X</del>" in page
    assert "<ins>4712X</ins>" in page


def test_a_stale_edit_is_refused_and_shows_both_versions(as_role: As, known: Person) -> None:
    client, old = as_role(STEWARD), fact(known)
    correcting.supersede(known, old.id, "4799Z", by="operator:bob", now=timezone.now())

    page = html(act(client, known, "correct", old.id, seen=old.version, text="4712X", how="changed"), 409)

    assert "4712X" in page
    assert "4799Z" in page
    assert "superseded by operator:bob" in page
    assert [one.value for one in selectors.facts(known, slot="identity.account")] == ["4799Z", "4711X"]
    assert not AuditEntry.objects.exists(), "what was not done is not in the trail"
    for name in ("pin", "expire", "forget"):
        html(act(client, known, name, old.id, seen=old.version, reason="why"), 409)


def test_forgetting_takes_a_reason_and_can_be_taken_back(as_role: As, known: Person) -> None:
    client, old = as_role(STEWARD), fact(known)
    assert "This field is required" in html(act(client, known, "forget", old.id, seen=old.version), 422)

    act(client, known, "forget", old.id, seen=old.version, reason="asked for")
    assert fact(known).forgotten_at is not None
    page = html(client.get(url(known, tab="forgotten")))
    assert "Restore it" in page
    act(client, known, "restore", old.id, seen=fact(known).version)

    assert fact(known).forgotten_at is None
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "memory.forgotten",
        "memory.restored",
    ]


def test_pin_expire_add_and_over(as_role: As, known: Person) -> None:
    client = as_role(STEWARD)
    one = fact(known)
    act(client, known, "pin", one.id, seen=one.version)
    assert fact(known).pinned_at is not None
    act(client, known, "unpin", one.id, seen=fact(known).version)
    act(client, known, "expire", one.id, seen=fact(known).version)
    assert overview.state_of(fact(known), timezone.now()) == "expired"
    act(client, known, "correct", one.id, seen=fact(known).version, how="over")
    assert fact(known).status == "retracted"
    name = fact(known, "identity.name")
    assert "Say what is right" in html(act(client, known, "correct", name.id, seen=name.version, how="wrong"), 422)
    assert "Nothing was changed" in html(
        act(client, known, "correct", name.id, seen=name.version, text="", how="?"), 422
    )

    client.post(url(known, "add"), {"slot": "seating", "text": "window", "kind": "fact"})
    assert fact(known, "seating").value == "window"
    assert "no slot" in html(client.post(url(known, "add"), {"slot": "no.such", "text": "x", "kind": "fact"}), 422)
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "memory.pinned", "memory.pinned", "memory.expired", "memory.corrected", "memory.added",
    ]  # fmt: skip


def test_pairs_are_merged_or_kept_apart(as_role: As, known: Person) -> None:
    client = as_role(STEWARD)
    pair = [
        correcting.store(known, "fact", text, by="operator:ann", now=MONDAY)
        for text in ("Plays the cello in an orchestra", "Plays cello in the orchestra")
    ]
    embed_caller(known)
    assert "They may say the same" in html(client.get(url(known)))
    typed = {"stays": pair[0].id, "goes": pair[1].id, "stays_seen": pair[0].version, "goes_seen": pair[1].version}

    client.post(url(known, "apart"), typed)
    assert "They may say the same" not in html(client.get(url(known)))
    assert client.post(url(known, "merge"), typed).status_code == 409, (
        "kept apart, the one that stays has a new version"
    )
    typed["stays_seen"] = next(one.version for one in selectors.facts(known) if one.id == pair[0].id)
    client.post(url(known, "merge"), typed)
    gone = next(one for one in selectors.facts(known) if one.id == pair[1].id)
    assert (gone.status, gone.superseded_by) == ("superseded", pair[0].id)


def test_another_callers_entry_is_out_of_reach(as_role: As, known: Person) -> None:
    client, other = as_role(STEWARD), john()
    theirs = correcting.store(other, "fact", "Collects stamps", by="operator:ann", now=MONDAY)
    own = fact(known)

    assert "Collects stamps" not in html(client.get(url(known, entry=theirs.id, tab="all")))
    for name in ("correct", "pin", "unpin", "expire", "forget", "restore"):
        act(client, known, name, theirs.id, seen=theirs.version, text="x", how="wrong", reason="why")
    pair = {"stays": own.id, "goes": theirs.id, "stays_seen": own.version, "goes_seen": theirs.version}
    client.post(url(known, "merge"), pair)
    client.post(url(known, "apart"), pair)

    assert selectors.facts(other) == [theirs]
    assert not AuditEntry.objects.exists()
    assert client.get(url(known, "heard", call=SECOND, at="0")).status_code == 404
    assert "no such caller" in html(client.get(f"{BASE}{uuid.uuid4()}/"), 404)
    assert client.get(f"{BASE}erasures/{uuid.uuid4()}/").status_code == 404


def test_a_caller_may_ask_not_to_be_remembered(as_role: As, known: Person) -> None:
    client = as_role(STEWARD)
    client.post(url(known, "keeping"), {"unwanted": "on", "days": "30", "reason": "asked for"})
    assert tombstones.never(known.key_hash)
    assert Caller.objects.get(pk=known.id).retention_days == 30
    entry = AuditEntry.objects.get()
    assert (entry.before, entry.after) == ({"days": None, "remembered": True}, {"days": 30, "remembered": False})
    assert "not to be remembered" in html(client.get(url(known)))
    client.post(url(known, "keeping"), {"days": ""})
    assert not tombstones.never(known.key_hash)
    assert html(client.post(url(known, "keeping"), {"days": "0"}), 422)


# --- probe, export, erase ---------------------------------------------------------------------------------------------


def test_the_probe_is_in_the_order_of_the_ranking(as_role: As, known: Person) -> None:
    embed_caller(known)
    client, question = as_role(REVIEWER), "What is my customer number?"

    page = html(client.post(url(known, "probe"), {"text": question}))

    hits = current().probe(known, question).recollection.hits
    shown = [part.split('"')[0] for part in page.split('data-row="')[1:]]
    assert shown == [hit.row.id for hit in hits]
    assert "L1 + L2" in page
    assert "Below 0.22 nothing is told" in page
    assert AuditEntry.objects.get().action == "memory.probed"
    forgetting.set_aside(known, account(known), by="operator:ann", now=timezone.now())
    assert "4711" not in html(client.post(url(known, "probe"), {"text": question}))


def test_the_budgets_line_stands_where_the_budget_cuts(as_role: As, known: Person) -> None:
    said = [
        Said(seq, "user", f"My customer number {seq} is a long story, {'and so on ' * 12}", MONDAY) for seq in range(9)
    ]
    write_conversation(known, SECOND, said, began_at=MONDAY)
    embed_caller(known)
    page = html(as_role(REVIEWER).post(url(known, "probe"), {"text": "my customer number"}))
    above, below = page.split("Here the budget of 300 tokens", 1)
    hits = current().probe(known, "my customer number").recollection.hits
    first_cut = next(place for place, hit in enumerate(hits) if hit.why_not == "budget")
    assert above.count("data-row=") == first_cut
    assert below.count("data-row=") == len(hits) - first_cut


def test_the_data_subject_file_has_all_of_one_caller_and_is_audited(as_role: As, known: Person) -> None:
    other = john()
    correcting.store(other, "fact", "Collects stamps", by="operator:ann", now=MONDAY)
    response = as_role(STEWARD).post(url(known, "export"), {"reason": "asked for"})
    held = json.loads(response.getvalue())

    texts = [line.get("text") for line in held["memory"]]
    assert "Customer number: 4711X" in texts
    assert [call["call_sid"] for call in held["calls"]] == [FIRST]
    assert held["calls"][0]["turns"][0]["number"] == 3
    assert "Collects stamps" not in json.dumps(held)
    assert AuditEntry.objects.get().action == "caller.exported"


def test_erasing_wants_the_digits_and_a_reason_and_completes_a_checklist(as_role: As, known: Person) -> None:
    client = as_role(STEWARD)
    assert "nothing was erased" in html(client.post(url(known, "erase"), {"digits": "0002", "reason": "x"}), 422)
    assert "This field is required" in html(client.post(url(known, "erase"), {"digits": "0001"}), 422)
    assert not ErasureRequest.objects.exists()

    asked = client.post(url(known, "erase"), {"digits": "0001", "reason": "asked for", "unwanted": "on"})

    request = ErasureRequest.objects.get()
    assert asked.headers["Location"] == f"{BASE}erasures/{request.pk}/"
    before = html(client.get(asked.headers["Location"] + "?part"))
    assert before.count("step-waiting") == 5
    assert 'data-done="no"' in before
    with pytest.raises(ValueError, match="erased"):
        talk(known, SECOND)

    assert finish_erasures() == {"verified": 1}

    after = html(client.get(asked.headers["Location"]))
    assert after.count("step-done") == 6
    assert "audit trail" in after
    assert people.find(MARIA) is None
    assert not Call.objects.exists()
    assert set(Tombstone.objects.values_list("scope", flat=True)) == {"caller", "conversation", "never"}
    stone = html(client.get(url(known)), 404)
    assert "This caller was erased" in stone
    assert "asked for" in stone


def test_an_erasure_that_waits_or_fails_says_so(as_role: As, known: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from memory.services.removing import Tables

    def away(_self: Tables, _subject: object) -> dict[str, int]:
        raise OSError("away")

    monkeypatch.setattr(Tables, "remove", away)
    request = erasure.erase_caller(known, by="operator:ann", now=timezone.now())
    page = html(as_role(VIEWER).get(f"{BASE}erasures/{request.pk}/"))
    assert page.count("step-failed") == 1
    assert "OSError" in page
    assert "tried again by itself" in page
    monkeypatch.undo()
    assert erasure.finish(request, now=timezone.now()).state == "verified"
