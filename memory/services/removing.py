"""What the memory's own tables hold of a caller, a conversation or a fact, and how it goes.

Each removal is one transaction. With a conversation go the facts that were heard nowhere else; with a fact go the older
values it replaced, and the words it was heard in: they are blanked in the transcript, and what was made of them
(word index, vectors, summaries, card) is made anew.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from django.contrib.admin.models import LogEntry
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from memory import people
from memory.core.values import Kind, Status
from memory.db import erasing, scoped
from memory.models import Caller, Card, Conversation, Memory, MemoryEvent, Source
from memory.services import blanking, cards, chain
from memory.services.subjects import Pending, Scope, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

_NAMES = {
    "memory.Caller": "callers",
    "memory.Card": "cards",
    "memory.Conversation": "conversations",
    "memory.Utterance": "utterances",
    "memory.Memory": "facts",
    "memory.Source": "sources",
    "memory.MemoryEvent": "history",
    "memory.ApiToken_callers": "tokens' callers",
}
_ADMIN_REPR = "erased"


class Tables:
    """The memory's tables, as one of the stores of an erasure."""

    name = "memory"

    def names(self, subject: Subject) -> Iterable[str]:
        """The caller's conversations."""
        return Conversation.objects.filter(caller__key_hash=subject.caller_hash).values_list("name", flat=True)

    def remove(self, subject: Subject) -> Mapping[str, int]:
        """Rows, by what they are."""
        if subject.caller_id is None:
            return _of_admin(subject)
        with erasing():
            # A writer that was faster is done when the lock is ours; a later one sees the tombstone.
            caller = Caller.objects.select_for_update().filter(pk=subject.caller_id).first()
            if caller is None:
                return _of_admin(subject)
            counts = Counter[str]()
            if subject.is_whole:
                counts += _named(Caller.objects.filter(pk=caller.pk).delete()[1])
            else:
                person = people.opened(caller)
                with scoped(caller.pk):
                    removed = _conversation if subject.scope == Scope.CONVERSATION else _facts
                    counts += removed(person, subject)
                    has_card = Card.objects.filter(caller_id=caller.pk).exists()
                if has_card:
                    cards.build(person, now=subject.at)
                    counts["cards built anew"] += 1
            counts += Counter(_of_admin(subject))
        return counts

    def find(self, subject: Subject) -> Mapping[str, int]:
        """Rows that should have gone, and words that still stand in what was said."""
        if subject.caller_id is None:
            return {}
        person = people.by_id(subject.caller_id)
        if person is None or subject.is_whole:
            return _left(callers=int(person is not None))
        with scoped(person.id):
            own = Conversation.objects.filter(caller_id=person.id, name__in=subject.conversations)
            if subject.scope == Scope.CONVERSATION:
                return _left(conversations=own.count(), sources=_sources_in(person.id, subject.conversations).count())
            return _left(
                facts=Memory.objects.filter(pk__in=subject.ids).count(),
                utterances=blanking.standing(person, own, subject.texts),
            )

    def pending(self, subject: Subject) -> Pending:
        """A caller who came again has a new row."""
        return Pending(newer=Caller.objects.filter(key_hash=subject.caller_hash).count() if subject.is_whole else 0)


def with_older(caller_id: UUID, memory_id: UUID) -> list[Memory]:
    """A fact and the older ones that it replaced, one after the other; empty where there is none."""
    found = {fact.pk: fact for fact in Memory.objects.filter(caller_id=caller_id, pk=memory_id)}
    newest = list(found)
    while newest:
        older = Memory.objects.filter(caller_id=caller_id, superseded_by__in=newest).exclude(pk__in=found)
        newest = [fact.pk for fact in older]
        found |= {fact.pk: fact for fact in older}
    return list(found.values())


def _conversation(person: people.Person, subject: Subject) -> Counter[str]:
    """The conversation, and the facts that come from nowhere else. Facts that those had replaced are valid again."""
    inside = _sources_in(person.id, subject.conversations)
    heard_here = set(inside.values_list("memory_id", flat=True))
    elsewhere = Source.objects.filter(memory_id__in=heard_here).exclude(pk__in=inside.values("pk"))
    gone = heard_here - set(elsewhere.values_list("memory_id", flat=True))
    counts = Counter({"facts valid again": _restore(person.id, gone)})
    counts += _drop_facts(person.id, gone)
    counts += _drop_mentions(person.id, subject.conversations)
    own = Conversation.objects.filter(caller_id=person.id, name__in=subject.conversations)
    return counts + _named(own.delete()[1])


def _facts(person: people.Person, subject: Subject) -> Counter[str]:
    """The facts, the words they were heard in, and what else was made of those words."""
    own = Source.objects.filter(caller_id=person.id, memory_id__in=subject.ids, utterance__isnull=False)
    spans = [(row.utterance_id, row.start, row.end) for row in own if row.utterance_id]
    conversations = Conversation.objects.filter(pk__in=own.values("utterance__conversation_id"))
    touched = set(conversations.values_list("pk", flat=True))
    touched |= blanking.retold(person, touched, subject.texts, subject.at)
    beside = set(Source.objects.filter(utterance__conversation__in=touched).values_list("memory_id", flat=True))
    counts = _drop_facts(person.id, subject.ids)
    summaries = Memory.objects.filter(
        caller_id=person.id, kind=Kind.SUMMARY, sources__utterance__conversation_id__in=touched
    )
    counts += _drop_facts(person.id, summaries.values_list("pk", flat=True))
    counts += blanking.blank(person, touched, spans, subject.texts)
    bare = Memory.objects.filter(caller_id=person.id, pk__in=beside, sources__isnull=True)
    counts += _drop_facts(person.id, bare.values_list("pk", flat=True))
    Conversation.objects.filter(pk__in=touched).update(
        embedded_at=None, distilled_at=None, card_at=None, distil_attempts=0, distil_error=""
    )
    for conversation in touched:
        chain.send(person.id, conversation)
    return counts


def _restore(caller_id: UUID, gone: set[UUID]) -> int:
    """Facts that are replaced by one that goes: by what replaced that one, or valid again."""
    restored = 0
    heirs = dict(Memory.objects.filter(pk__in=gone).values_list("pk", "superseded_by_id"))
    older = Memory.objects.filter(caller_id=caller_id, superseded_by_id__in=gone).exclude(pk__in=gone)
    for fact in older.filter(status=Status.SUPERSEDED.value):
        heir = fact.superseded_by_id
        while heir in heirs:
            heir = heirs[heir]
        if heir is not None:
            until = Memory.objects.values_list("valid_from", flat=True).get(pk=heir)
            Memory.objects.filter(pk=fact.pk).update(superseded_by_id=heir, valid_to=max(until, fact.valid_from))
            continue
        # The slot is free once the newer one is out of the way; the constraint looks at every statement.
        Memory.objects.filter(pk__in=gone, slot=fact.slot).update(status=Status.RETRACTED.value)
        Memory.objects.filter(pk=fact.pk).update(
            status=Status.ACTIVE.value, superseded_by=None, valid_to=None, retired_at=None
        )
        MemoryEvent.objects.create(caller_id=caller_id, memory_id=fact.pk, what=MemoryEvent.What.RESTORED, by="erasure")
        restored += 1
    return restored


def _drop_facts(caller_id: UUID, ids: Iterable[UUID | str]) -> Counter[str]:
    """These facts, with what the history of others says of them."""
    wanted = list(ids)
    counts = _named(Memory.objects.filter(caller_id=caller_id, pk__in=wanted).delete()[1])
    return counts + _drop_mentions(caller_id, map(str, wanted))


def _drop_mentions(caller_id: UUID, names: Iterable[str]) -> Counter[str]:
    """Lines of the history that name one of these conversations or facts."""
    mentioned = Q(pk__in=())
    for name in names:
        mentioned |= Q(as_text__contains=json.dumps(name))
    rows = MemoryEvent.objects.filter(caller_id=caller_id).annotate(as_text=Cast("data", TextField()))
    return _named(rows.filter(mentioned).delete()[1])


def _sources_in(caller_id: UUID, conversations: Iterable[str]) -> QuerySet[Source]:
    return Source.objects.filter(caller_id=caller_id, utterance__conversation__name__in=conversations)


def _of_admin(subject: Subject) -> dict[str, int]:
    """Who did what in the admin stays; of whom goes."""
    about = [str(subject.caller_id), *subject.ids] if subject.is_whole else list(subject.ids)
    rows = LogEntry.objects.filter(Q(object_id__in=about) | Q(object_repr__in=subject.conversations))
    changed = rows.exclude(object_repr=_ADMIN_REPR).update(object_repr=_ADMIN_REPR, object_id=None, change_message="")
    return _left(**{"admin log entries made anonymous": changed})


def _named(counts: Mapping[str, int]) -> Counter[str]:
    return Counter({_NAMES.get(label, label): count for label, count in counts.items() if count})


def _left(**counts: int) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
