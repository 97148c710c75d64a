"""What an operator's lists and pages ask for: callers with figures, and one caller's rows page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Case, Count, F, IntegerField, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce, Now

from memory import people, textsearch
from memory.core.values import Status
from memory.db import scoped
from memory.models import Caller, Conversation, ErasureRequest, Memory, Utterance
from memory.models.caller import SEEN_AT
from memory.selectors import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import Model, QuerySet

    from memory.people import Person
    from memory.selectors import Fact

#: True now, as far as we know, and not too old to be told unasked.
CURRENT = Q(status=Status.ACTIVE, retired_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
#: States of facts that an operator tells apart, as conditions.
STATES: Mapping[str, Q] = {
    "current": CURRENT,
    "disputed": Q(status=Status.DISPUTED, retired_at__isnull=True),
    "superseded": Q(status=Status.SUPERSEDED, retired_at__isnull=True),
    "retracted": Q(status=Status.RETRACTED, retired_at__isnull=True),
    "corrected": Q(retired_at__isnull=False, forgotten_at__isnull=True),
    "forgotten": Q(forgotten_at__isnull=False),
    "expired": Q(status=Status.ACTIVE, retired_at__isnull=True, expires_at__lte=Now()),
}
#: Callers of one name that a search finds.
MOST_FOUND = 500
_NAME_SLOT = "identity.name"
#: Conversations that the chain has not brought to their end.
UNREAD = Q(card_at__isnull=True)
FAILED = Q(card_at__isnull=True) & ~Q(distil_error="")


def state_of(fact: Fact | Memory, now: datetime) -> str:
    """A fact's state, by the names of ``STATES``."""
    status, retired_at, expires_at = fact.status, fact.retired_at, fact.expires_at
    if fact.forgotten_at is not None:
        return "forgotten"
    if retired_at is not None:
        return "corrected"
    if status != Status.ACTIVE:
        return status
    return "expired" if expires_at is not None and expires_at <= now else "current"


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is of a caller; ``facts`` counts every version there ever was."""

    conversations: int
    utterances: int
    facts: int
    current: int
    receipts: int


def with_figures(callers: QuerySet[Caller]) -> QuerySet[Caller]:
    """Callers with what a list shows of each. Counted for the rows of a page alone, along the indexes by caller."""
    return callers.select_related("card").annotate(
        conversation_count=_count(Conversation),
        unread_count=_count(Conversation, UNREAD),
        failed_count=_count(Conversation, FAILED),
        fact_count=_count(Memory, CURRENT),
        disputed_count=_count(Memory, STATES["disputed"]),
    )


def _count(model: type[Model], condition: Q | None = None) -> Coalesce:
    own = model._default_manager.filter(condition or Q(), caller=OuterRef("pk")).order_by().values("caller")
    return Coalesce(Subquery(own.annotate(n=Count("pk")).values("n")), Value(0), output_field=IntegerField())


def asking_for(callers: QuerySet[Caller], what: str) -> QuerySet[Caller]:
    """Callers with ``disputed`` facts, or with conversations that ``failed`` to be read; all for anything else."""
    if what == "disputed":
        return callers.filter(pk__in=Memory.objects.filter(STATES["disputed"]).order_by().values("caller_id"))
    if what == "failed":
        return callers.filter(pk__in=Conversation.objects.filter(FAILED).order_by().values("caller_id"))
    return callers


def callers_found(callers: QuerySet[Caller], text: str, *, by_name: bool = True) -> QuerySet[Caller]:
    """Those with this number, its last four digits, keyed hash, id or conversation, or (``by_name``) whose name has all of
    these words.

    Numbers and texts are sealed: a number is found by keyed hashes of the whole and of its end, a name by the word index
    of the facts.
    """
    if len(text) == people.TAIL_DIGITS and text.isdecimal():
        return callers.filter(tail_hash=people.tail_hash(text))
    hashes = (people.hash_of(text), text.casefold())
    found = set(Caller.objects.filter(key_hash__in=filter(None, hashes)).values_list("pk", flat=True))
    if caller_id := people.as_id(text):
        found.add(caller_id)
    found.update(Conversation.objects.filter(name=text).values_list("caller_id", flat=True)[:MOST_FOUND])
    query = textsearch.words_of_any_locale(text, every=True) if by_name else None
    if query is not None:
        named = Memory.objects.filter(CURRENT, slot=_NAME_SLOT, words=query)
        found.update(named.values_list("caller_id", flat=True)[:MOST_FOUND])
    return callers.filter(pk__in=found)


def page_of(callers: QuerySet[Caller], after: tuple[datetime, UUID] | None, limit: int) -> list[Any]:
    """The next ``limit`` callers, those seen last first, each with ``seen``: when that was. ``after``: ``seen`` and id of the
    last one of the page before."""
    found = callers.annotate(seen=SEEN_AT)
    if after is not None:
        at, last = after
        found = found.filter(Q(seen__lt=at) | Q(seen=at, pk__lt=last), seen__lte=at)
    return list(found.order_by(SEEN_AT.desc(), "-pk")[:limit])


@dataclass(frozen=True, slots=True)
class Levels:
    """How many entries of a caller are where: ``card`` (L1) told before the first word, ``index`` (L2) searched in a call,
    ``archive`` (L3) kept."""

    card: int
    index: int
    archive: int


def levels(person: Person, on_card: int) -> Levels:
    """The entries by level; ``on_card`` is how many facts the card tells."""
    counted = totals(person)
    with scoped(person.id):
        standing = Memory.objects.filter(caller_id=person.id, status=Status.ACTIVE, retired_at__isnull=True).count()
    return Levels(on_card, standing + min(counted.utterances, MOST_ROWS), counted.facts + counted.utterances)


def states_counted(person: Person, among: Mapping[str, Q]) -> dict[str, int]:
    """How many facts of a caller are in each of these."""
    with scoped(person.id):
        own = Memory.objects.filter(caller_id=person.id)
        return own.aggregate(**{name: Count("pk", filter=condition) for name, condition in among.items()})


def chain_ids(person: Person, fact: UUID) -> list[UUID]:
    """A fact with those it replaced and those that replaced it, the newest first."""
    with scoped(person.id):
        links = dict(Memory.objects.filter(caller_id=person.id).values_list("pk", "superseded_by_id"))
    newest, seen = fact, {fact}
    while (heir := links.get(newest)) is not None and heir not in seen:
        newest = heir
        seen.add(heir)
    older: dict[UUID, list[UUID]] = {}
    for one, heir in links.items():
        if heir is not None:
            older.setdefault(heir, []).append(one)
    found, front = [newest], [newest]
    while front:
        front = [one for heir in front for one in older.get(heir, ()) if one not in found]
        found += front
    return found if fact in links else []


def fact_ids(person: Person, *, state: str = "", slot: str = "", among: Q | None = None) -> list[UUID]:
    """A caller's facts, by slot, free ones last; of each slot what holds now first, then newest first. ``among``: those
    that this admits."""
    with scoped(person.id):
        found = Memory.objects.filter(STATES.get(state, Q()), among or Q(), caller_id=person.id)
        if slot:
            found = found.filter(slot=slot)
        standing = Case(When(CURRENT, then=Value(0)), default=Value(1))
        free = Case(When(slot="", then=Value(1)), default=Value(0))
        ordered = found.order_by(free, "slot", standing, F("valid_from").desc(), "-pk")
        return list(ordered.values_list("pk", flat=True))


def line_ids(person: Person, conversation: UUID) -> list[UUID]:
    """What was said in a conversation, in order."""
    with scoped(person.id):
        found = Utterance.objects.filter(caller_id=person.id, conversation_id=conversation)
        return list(found.order_by("seq").values_list("pk", flat=True))


def heard_in(person: Person, conversation: UUID, seqs: Sequence[int]) -> list[UUID]:
    """The facts that quote one of these lines of a conversation."""
    with scoped(person.id):
        quoting = Memory.objects.filter(
            caller_id=person.id, sources__utterance__conversation_id=conversation, sources__utterance__seq__in=seqs
        )
        return list(quoting.order_by("pk").distinct().values_list("pk", flat=True))


def conversations(person: Person) -> QuerySet[Conversation]:
    """A caller's conversations with their numbers of lines, newest first. To be read inside the caller's scope."""
    own = Conversation.objects.filter(caller_id=person.id)
    lines = Utterance.objects.filter(conversation=OuterRef("pk")).order_by().values("conversation")
    counted: Any = Coalesce(Subquery(lines.annotate(n=Count("pk")).values("n")), Value(0))
    return own.annotate(line_count=counted).order_by("-began_at", "-pk")


def totals(person: Person) -> Totals:
    """How much there is of a caller."""
    with scoped(person.id):
        own = Memory.objects.filter(caller_id=person.id)
        counts = (
            Conversation.objects.filter(caller_id=person.id).count(),
            Utterance.objects.filter(caller_id=person.id).count(),
            own.count(),
            own.filter(CURRENT).count(),
        )
    return Totals(*counts, receipts=ErasureRequest.objects.filter(caller_hash=person.key_hash).count())
