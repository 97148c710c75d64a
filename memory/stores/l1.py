"""L1: what a call needs before its first word, one Redis read away, and what is told to the memory while it runs.

Everything that was said or can name somebody is sealed here as in the database. While Redis is away the process
remembers in its place: cards it saw lately, and what was told in its own calls.

``card`` of a caller is a hash with the caller's id, locale, sealed key and sealed card; ``told`` of a call is a list of
what the caller asked to be remembered in it, which the chain after the call reads. ``memory.keys`` has the names.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import redis
import structlog
from redis.exceptions import RedisError

from memory import surroundings
from memory.core.values import Card
from memory.crypto import SealBroken
from memory.keys import card_key, told_key
from memory.people import Person

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_log = structlog.get_logger(__name__)

CARD_TTL_S = 30 * 86_400
TOLD_TTL_S = 7 * 86_400
_MOST_CARDS = 512
_MOST_TOLD = 50
_FIELDS = ("id", "locale", "key", "name", "text", "facts")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A caller with the card, as one read gives them."""

    person: Person
    card: Card


@dataclass(frozen=True, slots=True)
class Told:
    """Something the caller asked to be remembered. ``turn`` is the turn of the call in which it was."""

    key: str
    turn: int
    text: str


@dataclass(slots=True)
class L1:
    """The store of one process. Methods block for one round trip at most; use them in a thread. They never raise."""

    client: redis.Redis
    _cards: OrderedDict[str, dict[str, bytes]] = field(default_factory=OrderedDict)
    _told: dict[str, list[bytes]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def card(self, key_hash: str) -> Prepared | None:
        """The caller's card; ``None`` where none is at hand."""
        try:
            found = cast("dict[bytes, bytes]", self.client.hgetall(card_key(key_hash)))
            fields = {name.decode("ascii", errors="replace"): value for name, value in found.items()}
        except RedisError as error:
            _log.warning("l1.away", what="card", error=type(error).__name__)
            with self._lock:
                fields = self._cards.get(key_hash, {})
        return _prepared(key_hash, fields)

    def put_card(self, person: Person, sealed_key: bytes, card: Card) -> None:
        """Lay a caller's card ready."""
        fields = {
            "id": str(person.id).encode(),
            "locale": person.locale.encode(),
            "key": sealed_key,
            "name": person.seal(card.name, "card", person.id, "name"),
            "text": person.seal(card.text, "card", person.id, "text"),
            "facts": str(card.facts).encode(),
        }
        with self._lock:
            self._cards[person.key_hash] = fields
            self._cards.move_to_end(person.key_hash)
            while len(self._cards) > _MOST_CARDS:
                self._cards.popitem(last=False)
        try:
            pipe = self.client.pipeline(transaction=True)
            pipe.hset(
                card_key(person.key_hash),
                mapping=cast("dict[Any, Any]", fields),
            )
            pipe.expire(card_key(person.key_hash), CARD_TTL_S)
            pipe.execute()
        except RedisError as error:
            _log.warning("l1.away", what="put_card", error=type(error).__name__)

    def drop_card(self, key_hash: str) -> int:
        """Forget a caller's card. How many were there."""
        with self._lock:
            here = self._cards.pop(key_hash, None) is not None
        try:
            return max(self.client.delete(card_key(key_hash)), int(here))
        except RedisError as error:
            _log.warning("l1.away", what="drop_card", error=type(error).__name__)
            return int(here)

    def forget_here(self, caller_id: UUID) -> int:
        """Drop what this process holds in place of Redis of a caller whose memory was changed. How many cards."""
        with self._lock:
            held = [key for key, fields in self._cards.items() if fields["id"] == str(caller_id).encode()]
            for key in held:
                del self._cards[key]
        return len(held)

    def tell(self, person: Person, call_sid: str, told: Told) -> None:
        """Keep what is to be remembered until the call's chain takes it up; the same ``key`` once."""
        text = json.dumps({"key": told.key, "turn": told.turn, "text": told.text})
        sealed = person.key.seal(text, told_key(call_sid))
        with self._lock:
            held = self._told.setdefault(call_sid, [])
            if len(held) < _MOST_TOLD:
                held.append(sealed)
            waiting = list(held)
        try:
            pipe = self.client.pipeline(transaction=True)
            pipe.rpush(told_key(call_sid), *waiting)
            pipe.expire(told_key(call_sid), TOLD_TTL_S)
            pipe.execute()
        except RedisError as error:
            _log.warning("l1.away", what="tell", error=type(error).__name__)
            return
        with self._lock:
            self._told.pop(call_sid, None)

    def told(self, person: Person, call_sid: str) -> list[Told]:
        """What was told in a call, in order, each ``key`` once. Raises ``RedisError``: the chain tries again later."""
        found: dict[str, Told] = {}
        for sealed in cast("list[bytes]", self.client.lrange(told_key(call_sid), 0, _MOST_TOLD - 1)):
            try:
                item = json.loads(person.key.open(sealed, told_key(call_sid)))
            except (SealBroken, ValueError):
                _log.warning("l1.told_unreadable", call_sid=call_sid)
                continue
            found.setdefault(item["key"], Told(item["key"], item["turn"], item["text"]))
        return list(found.values())

    def untell(self, person: Person, call_sid: str, gone: Collection[str]) -> None:
        """Let go of what was told under these ``key``s: the caller took it back. Raises ``RedisError``."""
        kept = [told for told in self.told(person, call_sid) if told.key not in gone]
        self.drop_told([call_sid])
        for told in kept:
            self.tell(person, call_sid, told)

    def drop_told(self, call_sids: Iterable[str]) -> int:
        """Forget what was told in these calls. How many of them had something."""
        keys = [told_key(sid) for sid in call_sids]
        with self._lock:
            for sid in call_sids:
                self._told.pop(sid, None)
        try:
            return self.client.delete(*keys) if keys else 0
        except RedisError as error:
            _log.warning("l1.away", what="drop_told", error=type(error).__name__)
            return 0


def _prepared(key_hash: str, fields: dict[str, bytes]) -> Prepared | None:
    """What a card's fields say; ``None`` where one is missing or does not open (``MEMORY_KEY`` changed)."""
    if not all(name in fields for name in _FIELDS):
        return None
    try:
        caller_id = UUID(fields["id"].decode())
        key = surroundings.keyring().open(fields["key"], str(caller_id))
        person = Person(caller_id, key_hash, fields["locale"].decode(), key)
        return Prepared(
            person,
            Card(
                name=person.open(fields["name"], "card", caller_id, "name"),
                text=person.open(fields["text"], "card", caller_id, "text"),
                facts=int(fields["facts"]),
            ),
        )
    except (SealBroken, ValueError) as error:
        _log.warning("l1.card_unreadable", error=type(error).__name__)
        return None
