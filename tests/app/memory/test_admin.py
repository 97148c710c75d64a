"""The memory in the admin: who sees and does what, that each look and change is on record, and that no text is markup."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from calls.models import Call, Recording
from memory import people, selectors
from memory.admin.forms import CorrectForm
from memory.models import Access, ApiToken, Caller, Conversation, ErasureRequest, Memory, Tombstone, Utterance
from memory.services import cards, correcting, tokens
from memory.services.embedding import embed_caller
from tests.app.memory.people import DAY, JOHN, MARIA, MONDAY, john, maria
from tests.app.memory.talks import FIRST, heard, talk

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from memory.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]

CALLERS = "/admin/memory/caller/"
FACTS, SAID = "/admin/memory/memory/", "/admin/memory/utterance/"
TOKENS, RECEIPTS = "/admin/memory/apitoken/", "/admin/memory/erasurerequest/"
SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True, slots=True)
class Cast:
    """``viewer`` sees the list, ``reader`` reads, ``corrector`` corrects, ``eraser`` erases, ``clerk`` issues tokens,
    ``nobody`` is staff without any permission, ``root`` may do everything."""

    viewer: User
    reader: User
    corrector: User
    eraser: User
    clerk: User
    nobody: User
    root: User


MAY: dict[str, tuple[str, ...]] = {
    "viewer": ("view_caller",),
    "reader": ("view_caller", "read_caller"),
    "corrector": ("view_caller", "read_caller", "see_number", "correct_caller"),
    "eraser": ("view_caller", "read_caller", "erase_caller"),
    "clerk": ("view_apitoken", "add_apitoken", "change_apitoken", "read_caller"),
    "nobody": (),
}


@pytest.fixture
def cast(db: None) -> Cast:
    people_of = {name: User.objects.create_user(name, is_staff=True) for name in MAY}
    for name, codes in MAY.items():
        people_of[name].user_permissions.set(
            Permission.objects.filter(content_type__app_label="memory", codename__in=codes)
        )
    return Cast(root=User.objects.create_superuser("root"), **people_of)


@pytest.fixture
def known() -> Person:
    """Maria: a conversation, a name, a fact that was heard, and a card."""
    person = maria()
    talk(person)
    correcting.store(person, "", "", slot="identity.name", value="Maria Rossi", by="operator:ann", now=MONDAY)
    heard(person, "Customer number: 4711X", (FIRST, "4711 X"), value="4711X", slot="identity.account")
    cards.build(person, now=MONDAY)
    return person


def url(person: Person, *rest: object) -> str:
    return f"{CALLERS}{person.id}/" + "".join(f"{part}/" for part in rest or ("change",))


def html(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, (address, response.status_code, response.headers.get("Location"))
    return str(response.content.decode())


def conversation(person: Person) -> Conversation:
    return Conversation.objects.get(caller_id=person.id)


def account(person: Person) -> str:
    return next(one.id for one in selectors.facts(person) if one.slot == "identity.account")


def accesses() -> list[tuple[str, str, str]]:
    return list(Access.objects.order_by("at", "pk").values_list("by", "action", "outcome"))


def posted(client: Client, address: str, **values: Any) -> HttpResponse:
    return client.post(address, values, follow=True)  # type: ignore[return-value]


# --- who may --------------------------------------------------------------------------------------------------------


def addresses(person: Person) -> dict[str, str]:
    fact, talked = account(person), conversation(person).pk
    return {
        "list": CALLERS,
        "caller": url(person),
        "conversation": url(person, "conversation", talked),
        "facts": FACTS,
        "said": SAID,
        "enter": url(person, "enter"),
        "correct": url(person, "fact", fact, "correct"),
        "retract": url(person, "fact", fact, "retract"),
        "forget": url(person, "fact", fact, "forget"),
        "forget_conversation": url(person, "conversation", talked, "forget"),
        "erase": url(person, "erase"),
        "tokens": TOKENS,
        "issue": f"{TOKENS}add/",
        "receipts": RECEIPTS,
        "accesses": "/admin/memory/access/",
        "tombstones": "/admin/memory/tombstone/",
    }


READS = {"list", "caller", "conversation", "facts", "said"}
SEES = {
    "viewer": {"list"},
    "reader": READS,
    "corrector": READS | {"enter", "correct", "retract"},
    "eraser": READS | {"forget", "forget_conversation", "erase", "receipts"},
    "clerk": {"tokens", "issue"},
    "nobody": set(),
}


@pytest.mark.parametrize("name", SEES)
def test_everybody_sees_what_they_may_and_nothing_else(name: str, known: Person, cast: Cast, client: Client) -> None:
    client.force_login(getattr(cast, name))

    found = {page: client.get(address).status_code for page, address in addresses(known).items()}

    assert found == {page: 200 if page in SEES[name] else 403 for page in found}


@pytest.mark.parametrize("name", SEES)
def test_nobody_changes_what_they_may_not(name: str, known: Person, cast: Cast, client: Client) -> None:
    client.force_login(getattr(cast, name))
    refused = [page for page in ("enter", "correct", "retract", "forget", "forget_conversation", "erase")]

    for page in (page for page in refused if page not in SEES[name]):
        response = client.post(
            addresses(known)[page], {"text": "x", "kind": "fact", "how": "changed", "digits": "0001"}
        )
        assert response.status_code == 403, page

    assert not ErasureRequest.objects.exists()
    assert len(selectors.facts(known)) == 2
    assert {outcome for by, action, outcome in accesses() if by == f"operator:{name}"} <= {"refused"}


def test_who_is_not_signed_in_is_asked_to(known: Person, client: Client) -> None:
    for address in (*addresses(known).values(), url(known, "probe")):
        response = client.get(address)
        assert response.status_code == 302, address
        assert response.headers["Location"].startswith("/admin/login/"), address
    assert not Access.objects.exists()


def test_rows_cannot_be_edited_past_the_services(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    row = Memory.objects.filter(caller_id=known.id).first()
    assert row
    for address in (
        f"{CALLERS}add/",
        f"{CALLERS}{known.id}/delete/",
        f"{FACTS}add/",
        f"{FACTS}{row.pk}/change/",
        f"{FACTS}{row.pk}/delete/",
        f"{SAID}add/",
        "/admin/memory/access/add/",
        "/admin/memory/tombstone/add/",
        f"{RECEIPTS}add/",
    ):
        assert client.post(address, {"post": "yes"}).status_code in (302, 403, 404), address
    assert Caller.objects.filter(pk=known.id).exists()
    assert Memory.objects.filter(pk=row.pk).exists()


def test_numbers_and_names_are_for_whoever_may_see_them(known: Person, cast: Cast, client: Client) -> None:
    for user, list_has, page_has in (
        (cast.viewer, (False, False), None),
        (cast.reader, (False, True), False),
        (cast.corrector, (False, True), True),
    ):
        client.force_login(user)
        page = html(client, CALLERS)
        assert "••• 0001" in page
        assert (MARIA in page, "Maria" in page) == list_has
        if page_has is not None:
            assert (MARIA in html(client, url(known))) is page_has
    assert ("operator:corrector", "see number", "done") in accesses()
    assert ("operator:reader", "see number", "done") not in accesses()


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_caller_is_found_by_number_name_id_and_conversation(known: Person, cast: Cast, client: Client) -> None:
    talk(john(), "CA9")
    client.force_login(cast.root)
    found = {
        text: client.get(CALLERS, {"q": text}).context["cl"].result_count
        for text in (
            MARIA,
            "+1 555 010-0001",
            "rossi",
            known.key_hash,
            "Maria Rossi",
            "maria bianchi",
            str(known.id),
            FIRST,
            "0001",
            "\x00",
            "'; --",
        )
    }
    assert found == {
        MARIA: 1, "+1 555 010-0001": 1, "rossi": 1, known.key_hash: 1, "Maria Rossi": 1, "maria bianchi": 0, str(known.id): 1, FIRST: 1,
        "0001": 0, "\x00": 2, "'; --": 0,
    }  # fmt: skip
    client.force_login(cast.viewer)
    assert client.get(CALLERS, {"q": "rossi"}).context["cl"].result_count == 0


def test_a_callers_page_shows_card_facts_sources_and_history(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    page = html(client, url(known))

    for shown in (
        "Name: Maria Rossi",
        "Greeted as “Maria”",
        "identity.account",
        "Customer number: 4711X",
        '<q class="words">4711 X</q>',
        "at 0:01.0",
        f"{url(known, 'conversation', conversation(known).pk)}?line=1#line-1",
        "entered by operator:ann",
        "added by rules",
    ):
        assert shown in page, shown


def test_states_of_facts_are_told_apart_and_chosen(known: Person, cast: Cast, client: Client) -> None:
    old = account(known)
    correcting.supersede(known, old, "4712X", by="operator:ann", now=MONDAY + DAY)
    gone = correcting.store(known, "fact", "Plays the cello", by="operator:ann", now=MONDAY + DAY)
    correcting.retract(known, gone.id, by="operator:ann", now=MONDAY + 2 * DAY)
    wrong = correcting.store(known, "", "", slot="home.place", value="Berlin", by="operator:ann", now=MONDAY + DAY)
    correcting.supersede(known, wrong.id, "Bonn", by="operator:ann", now=MONDAY + 2 * DAY, was_wrong=True)
    client.force_login(cast.root)

    def texts(state: str) -> set[str]:
        groups = client.get(url(known), {"state": state}).context["groups"]
        assert all(view.state == state for group in groups for view in group.facts)
        return {view.fact.text for group in groups for view in group.facts}

    assert texts("superseded") == {"Customer number: 4711X"}
    assert texts("retracted") == {"Plays the cello"}
    assert texts("corrected") == {"Lives in Berlin"}
    assert texts("current") == {"Name: Maria Rossi", "Customer number: 4712X", "Lives in Bonn"}
    assert "No fact is disputed." in html(client, f"{url(known)}?state=disputed")


def test_a_conversation_shows_what_was_said_and_what_came_of_it(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    page = html(client, url(known, "conversation", conversation(known).pk))

    for shown in ("Hello, how can I help you?", "only before ten in the morning", "0:03.0", "Customer number: 4711X"):
        assert shown in page, shown


def test_no_page_shows_what_is_sealed_or_lets_a_text_be_markup(known: Person, cast: Cast, client: Client) -> None:
    talk(known, "CA<b>", ("Yes?", f"I say {SCRIPT} and <img src=x onerror=alert(1)>"))
    correcting.store(known, "fact", f"Says {SCRIPT}", by="operator:ann", now=MONDAY)
    client.force_login(cast.root)
    other = Conversation.objects.get(caller_id=known.id, name="CA<b>")

    pages = [
        html(client, address)
        for address in (
            url(known), url(known, "conversation", other.pk), FACTS, SAID, f"{FACTS}?q=script", f"{SAID}?q={SCRIPT}",
            f"{CALLERS}?q={SCRIPT}", url(known, "conversation", other.pk, "forget"),
        )
    ]  # fmt: skip
    pages.append(posted(client, url(known, "probe"), text=f"{SCRIPT} script").content.decode())

    assert any("&lt;script&gt;alert(1)" in page for page in pages)
    for page in pages:
        assert SCRIPT not in page
        assert "<img src=x" not in page
        assert "CA<b>" not in page
        assert not re.search(r"<(script|style)(?![^>]*(nonce|src)=)[^>]*>", page)
        assert " style=" not in page


def test_a_caller_who_is_gone_and_one_whose_key_does_not_open(
    known: Person, cast: Cast, client: Client, settings: Any
) -> None:
    client.force_login(cast.root)
    gone = client.get(f"{CALLERS}{conversation(known).pk}/change/", follow=True)
    assert "There is no such caller: erased, or never there." in gone.content.decode()

    settings.MEMORY_KEYS = ["another-key-of-no-value-0123456789-0123456789"]
    assert "cannot be opened: MEMORY_KEY was changed" in html(client, CALLERS)
    sealed = client.get(url(known), follow=True).content.decode()
    assert "MEMORY_KEY does not open this caller&#x27;s key" in sealed
    assert "MEMORY_KEY does not open" in html(client, f"{SAID}?q=window")
    assert ("operator:root", "see caller", "sealed") in accesses()


def test_empty_pages_say_what_to_do(cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    person = maria()
    assert "Nothing is known yet" in html(client, url(person))
    Caller.objects.all().delete()
    assert "Nobody is remembered yet." in html(client, CALLERS)
    assert "No fact is known yet" in html(client, FACTS)
    assert "Nothing was said yet" in html(client, SAID)
    assert "Nothing fits." in html(client, f"{FACTS}?q=lobster")


# --- searching across callers -----------------------------------------------------------------------------------------


def found(client: Client, address: str, **query: str) -> list[tuple[str, str]]:
    lines = client.get(address, query).context["lines"]
    return [(line.number[-4:], line.mention.text) for line in lines]


def test_facts_are_found_by_words_and_by_meaning_across_callers(known: Person, cast: Cast, client: Client) -> None:
    other = john()
    correcting.store(other, "", "", slot="health.allergy", value="penicillin", by="operator:ann", now=MONDAY)
    correcting.store(other, "fact", "Plays the cello", by="operator:ann", now=MONDAY)
    for person in (known, other):
        embed_caller(person)
    client.force_login(cast.root)

    assert found(client, FACTS, q="penicillin") == [("0002", "Allergic to penicillin")]
    by_meaning = client.get(FACTS, {"q": "Which antibiotics are dangerous?", "by": "meaning"}).context["lines"]
    assert by_meaning[0].mention.text == "Allergic to penicillin"
    assert float(by_meaning[0].score) > float(by_meaning[1].score)
    assert found(client, FACTS, slot="identity", state="current")[0][0] == "0001"
    assert found(client, FACTS, slot="health.allergy", state="superseded") == []
    assert found(client, FACTS, kind="identity", slot="identity.name") == [("0001", "Name: Maria Rossi")]
    assert len(found(client, FACTS)) == 4


def test_what_was_said_is_found_with_call_day_and_speaker(known: Person, cast: Cast, client: Client) -> None:
    talk(john(), "CA9", ("Do you like the window?", "No window for me."))
    client.force_login(cast.root)

    both = found(client, SAID, q="window")

    assert {last for last, _ in both} == {"0001", "0002"}
    assert [text for _, text in found(client, SAID, q="window", role="assistant")] == ["Do you like the window?"]
    by = {(by, action) for by, action, _ in accesses()}
    assert ("operator:root", "search utterances") in by
    hashes = Access.objects.filter(action="search utterances").values_list("caller_hash", flat=True)
    assert {people.hash_of(number) for number in (MARIA, JOHN)} <= set(hashes)


def test_search_by_openais_meaning_where_it_is_configured(
    known: Person, cast: Cast, client: Client, openai_at: Any, settings: Any
) -> None:
    client.force_login(cast.root)
    assert "openai" not in dict(client.get(FACTS).context["ways"])
    settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-small"
    embed_caller(known)

    answer = client.get(FACTS, {"q": "Maria Rossi", "by": "openai"})

    assert "by meaning, text-embedding-3-small" in answer.content.decode()
    assert answer.context["lines"][0].mention.text == "Name: Maria Rossi"
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    failed = html(client, f"{FACTS}?q=Maria&by=openai")
    assert "This could not be searched: text-embedding-3-small cannot be reached." in failed
    assert accesses()[-1] == ("operator:root", "search facts", "failed")


# --- the probe --------------------------------------------------------------------------------------------------------


def test_a_probe_shows_what_a_call_would_recall_and_the_cut(known: Person, cast: Cast, client: Client) -> None:
    embed_caller(known)
    client.force_login(cast.reader)

    answer = posted(client, url(known, "probe"), text="What is my customer number?")

    page = answer.content.decode()
    recalled = answer.context["recalled"]
    assert recalled[0].hit.in_prompt
    assert "4711" in recalled[0].hit.row.text
    assert [one.hit.score for one in recalled] == sorted((one.hit.score for one in recalled), reverse=True)
    assert "of 300" in page
    assert "0.22" in page
    for one in recalled:
        assert one.hit.in_prompt != bool(one.hit.why_not)
        assert one.below == (one.hit.score < 0.22)
    assert (page.count('class="cut"') == 1) is any(one.below for one in recalled)
    assert accesses()[-1] == ("operator:reader", "probe recall", "done")
    empty = posted(client, url(known, "probe"), text=" ")
    assert "This field is required." in empty.content.decode()


# --- changing ---------------------------------------------------------------------------------------------------------


def test_a_fact_is_entered_corrected_and_retracted(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.corrector)

    entered = posted(client, url(known, "enter"), slot="seating", text="by the window", kind="fact")
    assert "Entered. Calls in progress look again at once." in entered.content.decode()
    seat = selectors.facts(known, slot="seating")[0]
    assert [(one.what, one.by) for one in seat.history] == [("added", "operator:corrector")]

    posted(client, url(known, "fact", seat.id, "correct"), text="terrace", how=CorrectForm.CHANGED)
    now, before = selectors.facts(known, slot="seating")
    assert (now.value, now.status, before.status, before.superseded_by) == ("outside", "active", "superseded", now.id)

    posted(client, url(known, "fact", now.id, "correct"), text="booth", how=CorrectForm.WRONG)
    assert {one.value: one.retired_at is None for one in selectors.facts(known, slot="seating")}["outside"] is False

    right = next(one for one in selectors.facts(known, slot="seating") if one.value == "booth")
    posted(client, url(known, "fact", right.id, "retract"))
    assert selectors.facts(known, ids=[people.as_id(right.id)])[0].status == "retracted"  # type: ignore[list-item]
    actions = [action for by, action, outcome in accesses() if by == "operator:corrector" and outcome == "done"]
    assert [one for one in actions if one.endswith(" fact")] == [
        "enter fact",
        "correct fact",
        "correct fact",
        "retract fact",
    ]


def test_mistakes_come_back_at_the_form_and_change_nothing(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.corrector)
    for values, told in (
        ({"slot": "no.such", "text": "x", "kind": "fact"}, "there is no slot"),
        ({"slot": "party.size", "text": "many", "kind": "fact"}, "this is no value that party.size can take"),
        ({"text": "", "kind": "fact"}, "This field is required."),
        ({"text": "x", "kind": "utterance"}, "Select a valid choice."),
        ({"text": "a\x00b", "kind": "fact"}, "Null characters are not allowed."),
    ):
        assert told in posted(client, url(known, "enter"), **values).content.decode(), told
    assert len(selectors.facts(known)) == 2
    same = posted(client, url(known, "fact", account(known), "correct"), text="4711X", how="changed")
    assert "Nothing was changed: that is what is known already." in same.content.decode()
    gone = posted(client, url(known, "fact", conversation(known).pk, "retract"))
    assert "This caller has no such fact" in gone.content.decode()
    assert {outcome for _, action, outcome in accesses() if action == "enter fact"} == {"invalid"}


def test_a_fact_of_another_caller_is_out_of_reach(known: Person, cast: Cast, client: Client) -> None:
    other = john()
    client.force_login(cast.root)
    for what in ("correct", "retract", "forget"):
        posted(client, url(other, "fact", account(known), what), text="1", how="changed")
    talked = url(other, "conversation", conversation(known).pk)
    assert "This caller has no such conversation" in posted(client, talked).content.decode()
    posted(client, f"{talked}forget/")
    assert len(selectors.facts(known)) == 2
    assert not ErasureRequest.objects.exists()


def test_a_fact_is_forgotten_with_its_words_and_a_receipt(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.eraser)
    address = url(known, "fact", account(known), "forget")
    assert "The words it was heard in are blanked" in html(client, address)
    assert not ErasureRequest.objects.exists()

    page = posted(client, address).content.decode()

    assert "It is gone: a search found nothing any more. This is the receipt." in page
    assert "utterances blanked" in page
    assert [one.slot for one in selectors.facts(known)] == ["identity.name"]
    assert all("4711" not in line.text for line in selectors.lines(known))
    assert ErasureRequest.objects.get().by == "operator:eraser"
    assert ("operator:eraser", "forget fact", "done") in accesses()


def test_a_conversation_is_forgotten(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.eraser)
    address = url(known, "conversation", conversation(known).pk, "forget")
    assert "What was said goes: 4 lines." in html(client, address)

    assert "It is gone: " in posted(client, address).content.decode()

    assert not Utterance.objects.filter(caller_id=known.id).exists()
    assert [one.slot for one in selectors.facts(known)] == ["identity.name"]


def test_a_caller_is_erased_after_saying_who(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.eraser)
    address = url(known, "erase")
    page = html(client, address)
    for told in (
        "2 facts with sources and history",
        "1 conversation with 4 lines",
        "The caller&#x27;s key is destroyed",
    ):
        assert told in page, told
    wrong = posted(client, address, digits="0002").content.decode()
    assert "nothing was erased" in wrong
    assert Caller.objects.filter(pk=known.id).exists()

    receipt = posted(client, address, digits="0001").content.decode()

    assert "It is gone: a search found nothing any more. This is the receipt." in receipt
    assert "verified: a search found nothing" in receipt
    assert "keyed hashes of the number" in receipt
    assert not Caller.objects.exists()
    assert Tombstone.objects.filter(scope="caller").count() == 1
    assert ("operator:eraser", "erase caller", "invalid") in accesses()
    assert ("operator:eraser", "erase caller", "done") in accesses()
    client.force_login(cast.root)
    for address in (RECEIPTS, "/admin/memory/tombstone/", "/admin/memory/access/"):
        assert client.get(address, {"q": MARIA}).context["cl"].result_count >= 1, address


# --- tokens -----------------------------------------------------------------------------------------------------------


def issue(client: Client, **values: Any) -> HttpResponse:
    return posted(client, f"{TOKENS}add/", **{
        "name": "crm", "scopes": ["read"], "callers": MARIA, "days": "30", "rate_per_minute": "60", **values
    })  # fmt: skip


def test_a_secret_is_shown_once_and_works(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.clerk)

    answer = issue(client)

    page = answer.content.decode()
    (secret,) = re.findall(rf"{tokens.MARK}[\w-]+", page)
    row = tokens.find(secret)
    assert row is not None
    assert (row.name, row.scopes, row.rate_per_minute, row.created_by) == ("crm", ["read"], 60, cast.clerk)
    assert [one.pk for one in row.callers.all()] == [known.id]
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)
    assert "no-store" in answer.headers["Cache-Control"]
    for address in (TOKENS, f"{TOKENS}{row.pk}/change/"):
        shown = html(client, address)
        assert secret not in shown
        assert row.token_hash not in shown
        assert "never" in shown
    assert "There is a token of this name already." in issue(client).content.decode()
    assert ApiToken.objects.count() == 1


def test_nobody_hands_out_what_they_may_not_do(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.clerk)
    for values, told in (
        ({"scopes": ["read", "erase"]}, "You may not do that yourself: erase."),
        ({"scopes": []}, "This field is required."),
        ({"callers": ""}, "Say whose memory it reaches"),
        ({"callers": f"{MARIA}\n+15550199999"}, "Line 2: there is no caller"),
        ({"every_caller": "on"}, "Choose one"),
        ({"days": "0"}, "greater than or equal to 1"),
    ):
        page = issue(client, **values).content.decode()
        assert told in page, told
        assert tokens.MARK not in page
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked(known: Person, cast: Cast, client: Client) -> None:
    row, _ = tokens.issue("crm", ["read"], None, timezone.now() + DAY)
    client.force_login(cast.clerk)
    address = f"{TOKENS}{row.pk}/revoke/"
    assert "Its next request is refused." in html(client, address)
    row.refresh_from_db()
    assert row.revoked_at is None

    posted(client, address)

    row.refresh_from_db()
    assert row.revoked_at is not None
    assert "revoked" in html(client, TOKENS)
    assert ("operator:clerk", "revoke token", "done") in accesses()
    client.force_login(cast.reader)
    assert client.post(address).status_code == 403


# --- large ------------------------------------------------------------------------------------------------------------


def test_pages_ask_the_same_number_of_questions_whatever_they_show(
    cast: Cast, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        person = people.ensure(f"+1555020{number:04d}")
        talk(person, f"CA{number:032d}")
        for fact in range(6):
            heard(person, f"Fact {fact}", (f"CA{number:032d}", "4711 X"))
    tokens.issue("crm", ["read"], [one.pk for one in Caller.objects.all()], timezone.now() + DAY)
    client.force_login(cast.root)

    most = {
        CALLERS: 9,
        f"{CALLERS}?q=rossi": 13,
        url(person): 60,
        FACTS: 9,
        f"{FACTS}?q=fact": 9,
        SAID: 8,
        f"{SAID}?q=window": 8,
        TOKENS: 8,
        RECEIPTS: 7,
        "/admin/memory/access/": 8,
    }
    for address, queries in most.items():
        with django_assert_max_num_queries(queries):
            html(client, address)


# --- the calls behind it ----------------------------------------------------------------------------------------------


def test_sources_lead_to_the_call_and_its_second_for_whoever_may_go_there(
    known: Person, cast: Cast, client: Client
) -> None:
    call = Call.objects.create(call_sid=FIRST, from_number=MARIA, to_number="+15005550006", started_at=MONDAY)
    Recording.objects.create(call=call, file="x.wav", duration_ms=9000, size_bytes=1, sha256="0" * 64)
    timeline, second = f'href="/calls/{FIRST}/"', f'href="/calls/{FIRST}/audio.wav#t=1.00"'
    for codes, leads_to in (
        ((), ()),
        (("view_call",), (timeline,)),
        (("view_call", "listen_recording"), (timeline, second)),
    ):
        cast.reader.user_permissions.add(*Permission.objects.filter(codename__in=codes))
        client.force_login(cast.reader)
        for page in (html(client, url(known)), html(client, FACTS)):
            assert [link for link in (timeline, second) if link in page] == list(leads_to)


def test_long_memories_come_in_pages_and_links_lead_to_the_right_one(known: Person, cast: Cast, client: Client) -> None:
    lines = tuple(f"Line {number} of a long talk" for number in range(450))
    talk(known, "CA9", lines)
    for number in range(120):
        correcting.store(known, "fact", f"Owns violin {number}", by="operator:ann", now=MONDAY)
    client.force_login(cast.root)
    long = Conversation.objects.get(caller_id=known.id, name="CA9")
    address = url(known, "conversation", long.pk)

    assert "Line 433 of" in html(client, f"{address}?line=433")
    assert "Line 433 of" not in html(client, address)
    assert [client.get(address, {"line": line}).context["lines"].number for line in ("199", "200", "9999", "x")] == [
        1,
        2,
        3,
        1,
    ]
    first, last = (client.get(url(known), {"facts": page, "state": "current"}) for page in ("1", "99"))
    assert "state=current&amp;facts=2#facts" in first.content.decode()
    assert [group.slot for group in first.context["groups"]] == ["identity.account", "identity.name", ""]
    shown = [view.fact.id for page in (first, last) for group in page.context["groups"] for view in group.facts]
    assert len(shown) == len(set(shown)) == 122
    seen = client.get(FACTS)
    more = client.get(f"{FACTS}?{seen.context['next_query']}")
    pages = [[line.mention.id for line in page.context["lines"]] for page in (seen, more)]
    assert (len(pages[0]), len(set(pages[0]) & set(pages[1]))) == (50, 0)
    ranked = client.get(SAID, {"q": "long"})
    after = client.get(f"{SAID}?{ranked.context['next_query']}")
    ids = [line.mention.id for page in (ranked, after) for line in page.context["lines"]]
    assert len(ids) == len(set(ids)) == 100


def test_nothing_that_was_typed_is_kept_in_a_cookie_or_a_session(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    client.post(url(known, "enter"), {"text": "Plays the bassoon", "kind": "fact"})

    assert "bassoon" not in "".join(cookie.value for cookie in client.cookies.values())
    assert "bassoon" not in str(dict(client.session.items()))
    assert any(fact.text == "Plays the bassoon" for fact in selectors.facts(known))
