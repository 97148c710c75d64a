"""Entering, correcting, retracting, forgetting and erasing in the admin, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memory import people, selectors
from memory.admin.forms import CorrectForm
from memory.models import Caller, ErasureRequest, Tombstone, Utterance
from memory.services import housekeeping
from tests.app.memory.operators import (
    RECEIPTS,
    Cast,
    accesses,
    account,
    conversation,
    html,
    posted,
    url,
)
from tests.app.memory.people import DAY, MARIA, MONDAY, john

if TYPE_CHECKING:
    from django.test import Client

    from memory.people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


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


def test_nothing_that_was_typed_is_kept_in_a_cookie_or_a_session(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.root)

    client.post(url(known, "enter"), {"text": "Plays the bassoon", "kind": "fact"})

    assert "bassoon" not in "".join(cookie.value for cookie in client.cookies.values())
    assert "bassoon" not in str(dict(client.session.items()))
    assert any(fact.text == "Plays the bassoon" for fact in selectors.facts(known))


def test_an_operator_says_how_long_what_is_said_is_kept(known: Person, cast: Cast, client: Client) -> None:
    client.force_login(cast.eraser)
    assert "greater than or equal to 1" in posted(client, url(known, "keep"), days="0").content.decode()

    page = posted(client, url(known, "keep"), days="30").content.decode()

    assert "30 days" in page
    assert accesses()[-2:] == [("operator:eraser", "keep for", "done"), ("operator:eraser", "see caller", "done")]
    assert housekeeping.let_go(MONDAY + 31 * DAY) == 1
    page = html(client, url(known))
    assert "said by the caller; the words were let go" in page
    assert "No conversation is kept." in page
    posted(client, url(known, "keep"), days="")
    assert Caller.objects.get(pk=known.id).retention_days is None
