"""Forgetting: a fact, a conversation, or a whole caller; at once, everywhere, and with a receipt.

The order is what makes it hold. First the tombstone, in one transaction with the request: from then on nothing of it is
written any more, in any process. Then calls in progress are told, then each store removes what it has, then all of them
are searched. A crash in between leaves a request that ``finish_open`` takes up where it was.

What is still being written (a call in progress) is erased when it ends; the request waits for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone
from redis.exceptions import RedisError

from memory import keys, people, surroundings
from memory.callers import normalised
from memory.core.spans import telling
from memory.crypto import SealBroken
from memory.db import scoped
from memory.models import Caller, Conversation, ErasureRequest, Memory, Source
from memory.services import removing, removing_redis, tombstones, traces
from memory.services.subjects import Pending, Scope, Store, Subject, quoting, register, staying, stores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memory.people import Person

__all__ = [
    "NothingThere",
    "erase_caller",
    "erase_number",
    "finish",
    "finish_open",
    "forget_conversation",
    "forget_fact",
    "names_of",
]

_log = structlog.get_logger(__name__)

State = ErasureRequest.State
#: A record that were changed would replay no more: it says what was recalled, and goes with its own conversation.
QUOTED = "records of calls in which it was recalled, as told and as events: erase these conversations to remove them"
#: What a receipt says about what no program here can reach, or that must stay as it is.
KEPT = {
    Scope.CALLER: (
        "keyed hashes of the number, in tombstones, receipts and the list of accesses: they name nobody without the key",
        "backups: the texts of the memory cannot be opened, since the caller's key is destroyed; word indexes, vectors and "
        "records of calls in them go when the backup is deleted",
        "pages that the database freed, its write-ahead log and Redis's append-only file, until they are written over",
        "files that were exported, and logs if LOG_PII was on",
    ),
    Scope.CONVERSATION: (
        "keyed hashes in tombstones and receipts",
        "backups, until they are deleted",
        "files that were exported, and logs if LOG_PII was on",
        "bookings taken in it, without the name of the call",
        QUOTED,
    ),
    Scope.FACT: (
        "keyed hashes in tombstones and receipts",
        "the record of the call itself, transcript and sound: erase the conversation to remove it",
        QUOTED,
        "backups, until they are deleted",
    ),
}
#: Tasks that run at this moment: they ask for tombstones before they write.
_RUNNING = ("unacked", "unacked_index")
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(days=1)


class NothingThere(LookupError):
    """There is no such fact or conversation of this caller."""


# --- asking -----------------------------------------------------------------------------------------------------------


def erase_caller(person: Person, *, by: str, now: datetime) -> ErasureRequest:
    """Erase all there is of a caller until ``now``. Asked again it finds nothing and says so."""
    return finish(ask_caller(person, by=by, now=now), now=now)


def ask_caller(person: Person, *, by: str, now: datetime) -> ErasureRequest:
    """Ask for that, and leave it to ``finish_open`` to be done: from here on nothing of the caller is written, and no call in
    progress is told anything."""
    row = Caller.objects.filter(pk=person.id).first()
    subject = Subject(Scope.CALLER, now, person.key_hash, person.id, people.number_of(person) if row else "")
    request = _ask(subject, by)
    transaction.on_commit(lambda: _tell(subject))
    return request


def erase_number(number: str, *, by: str, now: datetime) -> ErasureRequest:
    """The same for a number, which may have records of calls and no memory.

    Raises ``ValueError`` for a withheld one, ``NothingThere`` for one that nothing was ever kept of: a receipt over a
    number that was mistyped would say that its caller is forgotten.
    """
    person = people.find(number)
    if person is not None:
        return erase_caller(person, by=by, now=now)
    key_hash = people.hash_of(number)
    if not key_hash:
        raise ValueError("a withheld number has no memory and no key to find its calls by")
    subject = Subject(Scope.CALLER, now, key_hash, None, normalised(number))
    if not _is_known(subject):
        raise NothingThere("nothing was ever kept of this number; write it with + and country code")
    return _erase(subject, by)


def _is_known(subject: Subject) -> bool:
    if ErasureRequest.objects.filter(caller_hash=subject.caller_hash).exists() or _names(subject):
        return True
    return any(store.find(subject) or store.pending(subject) != Pending() for store in stores())


def forget_conversation(person: Person, name: str, *, by: str, now: datetime) -> ErasureRequest:
    """Erase a conversation, with the facts that were heard nowhere else. Raises ``NothingThere``."""
    return forget_conversations(person, [name], by=by, now=now)


def known_conversations(person: Person, names: Sequence[str]) -> list[str]:
    """Which of these the memory holds."""
    return list(
        Conversation.objects.filter(caller_id=person.id, name__in=names).order_by("name").values_list("name", flat=True)
    )


def forget_conversations(person: Person, names: Sequence[str], *, by: str, now: datetime) -> ErasureRequest:
    """The same for several, with one receipt. Raises ``NothingThere`` where one of them is none of the caller's."""
    own = Conversation.objects.filter(caller_id=person.id, name__in=names)
    ids = tuple(map(str, own.values_list("pk", flat=True)))
    subject = Subject(Scope.CONVERSATION, now, person.key_hash, person.id, conversations=tuple(names), ids=ids)
    if set(names) - set(own.values_list("name", flat=True)) - _names(subject):
        raise NothingThere("this caller has no such conversation")
    return _erase(subject, by)


def forget_fact(
    person: Person, memory_id: UUID | str, *, by: str, now: datetime, until: datetime | None = None
) -> ErasureRequest:
    """Erase a fact, the older values that it replaced, and the words it was heard in. ``until``: what was said since then
    is news, where that is not ``now``. Raises ``NothingThere``."""
    with scoped(person.id):
        facts = removing.with_older(person.id, _uuid(memory_id))
        if not facts:
            raise NothingThere("this caller has no such fact")
        subjects = {subject_of(person, fact) for fact in facts}
        texts = {person.open(fact.value_sealed, "memory", fact.pk, "value") for fact in facts}
        sources = Source.objects.filter(memory__in=facts, utterance__isnull=False)
        conversations = set()
        for source in sources.select_related("utterance__conversation"):
            said = source.utterance
            if said is not None:
                text = person.open(said.text_sealed, "utterance", said.pk, "text")
                texts.add(text[source.start : source.end])
                conversations.add(said.conversation.name)
    subject = Subject(
        Scope.FACT,
        until or now,
        person.key_hash,
        person.id,
        conversations=tuple(sorted(conversations)),
        ids=tuple(str(fact.pk) for fact in facts),
        texts=telling(texts),
    )
    return finish(_ask(subject, by, subjects), now=now)


def subject_of(person: Person, fact: Memory) -> str:
    """What stands for a fact in a tombstone."""
    text = person.open(fact.text_sealed, "memory", fact.pk, "text")
    value = person.open(fact.value_sealed, "memory", fact.pk, "value")
    return tombstones.fact_subject(fact.kind, fact.slot, value, text)


def _uuid(text: UUID | str) -> UUID:
    try:
        return text if isinstance(text, UUID) else UUID(text)
    except ValueError:
        raise NothingThere("this is no id of a fact") from None


def names_of(person: Person) -> set[str]:
    """The conversations and calls of a caller that any store knows, those in progress included. Raises what stores raise."""
    return _names(Subject(Scope.CALLER, timezone.now(), person.key_hash, person.id))


def _names(subject: Subject) -> set[str]:
    return {name for store in stores() for name in store.names(subject)}


def _erase(subject: Subject, by: str) -> ErasureRequest:
    """Ask for it, and do it."""
    return finish(_ask(subject, by), now=subject.at)


def _ask(subject: Subject, by: str, facts: Iterable[str] = ()) -> ErasureRequest:
    """Lay the tombstones and write the request, both or neither: from here on nothing of it is written any more."""
    if subject.is_whole:
        ids = Conversation.objects.filter(caller__key_hash=subject.caller_hash).values_list("pk", flat=True)
        names = tuple(sorted(_names(subject)))
        subject = replace(subject, conversations=names, ids=tuple(map(str, ids)))
    with transaction.atomic():
        if subject.is_whole:
            tombstones.lay(Scope.CALLER, subject.caller_hash, [""], subject.at)
        if subject.is_call:
            refused = map(tombstones.conversation_subject, subject.conversations)
            tombstones.lay(Scope.CONVERSATION, subject.caller_hash, refused, subject.at)
        tombstones.lay(Scope.FACT, subject.caller_hash, facts, subject.at)
        request = ErasureRequest(scope=subject.scope, caller_hash=subject.caller_hash, by=by, asked_at=subject.at)
        request.receipt = {"removed": {}, "plan": subject.sealed(request.pk)}
        request.save(force_insert=True)
    _log.info("erasure.asked", erasure=str(request.pk), scope=subject.scope)
    return request


# --- doing ------------------------------------------------------------------------------------------------------------


def finish(request: ErasureRequest, *, now: datetime) -> ErasureRequest:
    """Take a request as far as it goes. Harmless again, at the same time too; a verified one is done."""
    if request.state == State.VERIFIED:
        return request
    try:
        subject = Subject.opened(request.receipt["plan"], request.pk)
    except SealBroken as error:
        return _settle(request.pk, State.FAILED, now, failed={"plan": str(error)})
    _tell(subject)
    failed = {store.name: why for store in stores() if (why := _remove(store, subject, request.pk))}
    # Again: a call that was still loading had nobody to tell, and has read rows that are gone now.
    _tell(subject)
    waiting, newer = _pending(subject)
    if failed:
        return _settle(request.pk, State.FAILED, now, failed=failed, waiting=waiting)
    if waiting:
        return _settle(request.pk, State.REMOVED, now, waiting=waiting)
    found, searched, unsearched = _search(subject, by_number=not newer)
    if found or unsearched:
        return _settle(request.pk, State.FAILED, now, found=found, searched=searched, failed=unsearched, newer=newer)
    return _settle(request.pk, State.VERIFIED, now, searched=searched, newer=newer)


def finish_open(*, now: datetime) -> Counter[str]:
    """Take up what was left: requests whose process died, that failed, or that waited for a call to end.

    One that fails is tried again after growing pauses, at most a day: each try searches everything.
    """
    done = Counter[str]()
    for request in ErasureRequest.objects.exclude(state=State.VERIFIED).order_by("asked_at"):
        if request.state != State.FAILED or _is_due(request.receipt, now):
            done[finish(request, now=now).state] += 1
    return done


def _is_due(receipt: Mapping[str, Any], now: datetime) -> bool:
    tried_at = datetime.fromisoformat(receipt["tried_at"])
    pause: timedelta = _FIRST_PAUSE * 2 ** min(int(receipt["tries"]), 12)
    return now >= tried_at + min(pause, _LONGEST_PAUSE)


def _tell(subject: Subject) -> None:
    if subject.caller_id is not None:
        what = keys.What.ERASED if subject.is_whole else keys.What.CHANGED
        keys.announce(subject.caller_hash, subject.caller_id, what)


def _remove(store: Store, subject: Subject, request: UUID) -> str:
    """Let a store remove what it has, and add it to the receipt in the same transaction. What went wrong, if it did."""
    try:
        with transaction.atomic():
            removed = +Counter(store.remove(subject))
            kept = ErasureRequest.objects.select_for_update().get(pk=request)
            kept.receipt["through"] = sorted({*kept.receipt.get("through", ()), store.name})
            if removed:
                known = Counter(kept.receipt["removed"].get(store.name, {}))
                kept.receipt["removed"][store.name] = dict(known + removed)
            if kept.state == State.ASKED:
                kept.state = State.REMOVED
            kept.save(update_fields=["receipt", "state"])
    except (DatabaseError, RedisError, OSError, ValueError) as error:
        _log.warning("erasure.store_failed", store=store.name, error=type(error).__name__)
        return type(error).__name__
    return ""


def _pending(subject: Subject) -> tuple[int, int]:
    found = [store.pending(subject) for store in stores()]
    return sum(one.waiting for one in found), sum(one.newer for one in found)


def _search(subject: Subject, *, by_number: bool) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """What is left anywhere, how much was looked at, and what could not be asked.

    A caller who came again has a number in new records: then ids and names of calls are searched for alone.
    """
    found, searched = Counter[str](), Counter[str]()
    try:
        for store in stores():
            found += Counter({f"{store.name}: {what}": count for what, count in store.find(subject).items()})
        wanted = traces.wanted(subject, by_number=by_number)
        tables = traces.in_tables(wanted, skip={*traces.HASHES_ONLY, *staying()})
        with surroundings.redis_client() as client:
            in_redis = traces.in_redis(client, wanted, skip=_RUNNING)
    except (DatabaseError, RedisError, OSError) as error:
        return dict(found), {}, {"search": type(error).__name__}
    for one in (tables, in_redis):
        found += one.found
        searched += one.searched
    if not subject.is_whole:
        # Whether the erased conversation's own record is gone its store has said above; others may quote what they recalled.
        for record in quoting():
            searched[f"{record}, quoting"] = found.pop(record, 0)
    return dict(+found), dict(+searched), {}


def _settle(request: UUID, state: State, now: datetime, **said: Any) -> ErasureRequest:
    """Write how far it is; at the end without the plan, so that the receipt says how much and not of whom."""
    with transaction.atomic():
        row = ErasureRequest.objects.select_for_update().get(pk=request)
        if row.state == State.VERIFIED:
            return row
        receipt = {name: value for name, value in row.receipt.items() if name in ("removed", "through", "plan")}
        receipt |= {name: value for name, value in said.items() if value}
        if state == State.FAILED:
            receipt |= {"tried_at": now.isoformat(), "tries": row.receipt.get("tries", 0) + 1}
        row.state = state
        if state == State.VERIFIED:
            del receipt["plan"]
            receipt |= {"found": {}, "kept": [*KEPT[Scope(row.scope)], *staying().values()]}
            row.done_at = now
        row.receipt = receipt
        row.save(update_fields=["state", "done_at", "receipt"])
    line = _log.warning if state == State.FAILED else _log.info
    line("erasure.settled", erasure=str(request), state=state.value)
    return row


register(removing.Tables())
register(removing_redis.Keys())
