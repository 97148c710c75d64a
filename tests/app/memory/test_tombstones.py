"""What was erased is known by keyed hashes, and only what was said before counts as erased."""

from __future__ import annotations

import pytest

from memory.models import Tombstone
from memory.services import tombstones
from tests.app.memory.people import DAY, MONDAY, john, maria

pytestmark = pytest.mark.django_db

FACT, CALLER, CONVERSATION = Tombstone.Scope.FACT, Tombstone.Scope.CALLER, Tombstone.Scope.CONVERSATION


def test_a_forgotten_fact_is_forgotten_in_other_words_too_until_it_is_said_again() -> None:
    who = maria().key_hash
    subject = tombstones.fact_subject("preference", "contact.time", "before 10:00", "Best reached: before ten")
    tombstones.lay(FACT, who, [subject], MONDAY)

    held = tombstones.forgotten(who)

    assert held.covers("fact", "contact.time", "Before 10:00", "call me before ten", MONDAY)
    assert not held.covers("preference", "contact.time", "before 10:00", "", MONDAY + DAY)
    assert not held.covers("preference", "contact.time", "evening", "", MONDAY)
    assert not tombstones.forgotten(john().key_hash).covers("preference", "contact.time", "before 10:00", "", MONDAY)


def test_a_free_fact_is_known_by_its_words() -> None:
    who = maria().key_hash
    tombstones.lay(FACT, who, [tombstones.fact_subject("fact", "", "", "Plays the cello.")], MONDAY)

    held = tombstones.forgotten(who)

    assert held.covers("fact", "", "", "plays the Cello", MONDAY)
    assert not held.covers("fact", "", "", "plays the viola", MONDAY)


def test_a_conversation_is_erased_by_its_name_or_with_everything_before() -> None:
    who = maria().key_hash
    tombstones.lay(CONVERSATION, who, [tombstones.conversation_subject("CA1")], MONDAY)

    assert tombstones.conversation_erased(who, "CA1")
    assert not tombstones.conversation_erased(who, "CA2", MONDAY)
    assert not tombstones.conversation_erased(john().key_hash, "CA1", MONDAY)

    tombstones.lay(CALLER, who, [""], MONDAY)
    assert tombstones.conversation_erased(who, "CA2", MONDAY)
    assert not tombstones.conversation_erased(who, "CA3", MONDAY + DAY)
    tombstones.lay(CALLER, who, [""], MONDAY + DAY)
    assert tombstones.conversation_erased(who, "CA3", MONDAY + DAY)
    assert not tombstones.conversation_erased("", "CA3", MONDAY)


def test_a_tombstone_names_nobody() -> None:
    who = maria().key_hash
    tombstones.lay(FACT, who, [tombstones.fact_subject("identity", "identity.name", "Maria Jensen", "")], MONDAY)

    kept = Tombstone.objects.get()

    assert "Maria" not in str(kept) + kept.subject
    assert kept.subject != tombstones.fact_subject("identity", "identity.name", "Mario Jensen", "")
