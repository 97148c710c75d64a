"""Whose memory it is: a caller's row, opened. What every selector and service is handed instead of a number or an id."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from uuid import UUID

from memory import surroundings
from memory.callers import caller_key, normalised
from memory.crypto import DataKey
from memory.ids import new_id
from memory.models import Caller

#: What a sealed column is bound to: table, row, field.
PLACE = "{table}:{row}:{column}"
#: By how many of its last digits a number can be found.
TAIL_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Person:
    """A caller with the key that opens what is kept of them. Made by ``find``, ``by_id`` and ``ensure`` only."""

    id: UUID
    key_hash: str
    locale: str
    key: DataKey = field(repr=False)

    def seal(self, text: str, table: str, row: UUID, column: str) -> bytes:
        """``text`` for this column of this row; empty text stays empty."""
        return self.key.seal(text, PLACE.format(table=table, row=row, column=column)) if text else b""

    def open(self, sealed: bytes | memoryview, table: str, row: UUID, column: str) -> str:
        """What was sealed there. Raises ``memory.crypto.SealBroken``."""
        return self.key.open(sealed, PLACE.format(table=table, row=row, column=column)) if len(sealed) else ""


def hash_of(number: str) -> str:
    """The keyed hash of a number; empty for a withheld one."""
    return caller_key(number, surroundings.caller_secret())


def tail_hash(number: str) -> str:
    """The keyed hash of a number's last digits; empty for one with fewer."""
    digits = "".join(filter(str.isdigit, number))
    return keyed("tail", digits[-TAIL_DIGITS:]) if len(digits) >= TAIL_DIGITS else ""


def keyed(*parts: str) -> str:
    """A keyed hash that outlives a caller's own key, for tombstones: 64 hex digits."""
    text = "\x1f".join(parts)
    secret = surroundings.caller_secret()
    return hmac.new(secret.encode(), b"subject:" + text.encode(errors="backslashreplace"), hashlib.sha256).hexdigest()


def find(number: str) -> Person | None:
    """The caller with this number, if there is one."""
    found = hash_of(number)
    return by_hash(found) if found else None


def by_hash(key_hash: str) -> Person | None:
    """The caller with this key."""
    row = Caller.objects.filter(key_hash=key_hash).first()
    return opened(row) if row else None


def by_id(caller_id: UUID | str) -> Person | None:
    """The caller of this row; ``None`` also where the text is no id."""
    wanted = as_id(caller_id)
    row = Caller.objects.filter(pk=wanted).first() if wanted else None
    return opened(row) if row else None


def as_id(text: UUID | str) -> UUID | None:
    """The id that a text is, in its usual form with hyphens; ``None`` where it is none."""
    if isinstance(text, UUID):
        return text
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.casefold() else None


def ensure(number: str, locale: str = "en") -> Person:
    """The caller with this number, made if new. Raises ``ValueError`` for a withheld number: those have no memory."""
    key_hash = hash_of(number)
    if not key_hash:
        raise ValueError("a withheld number has no memory")
    row = Caller.objects.filter(key_hash=key_hash).first()
    if row is None:
        caller_id = new_id()
        key, sealed = surroundings.keyring().new(str(caller_id))
        place = PLACE.format(table="caller", row=caller_id, column="number")
        row, _ = Caller.objects.get_or_create(
            key_hash=key_hash,
            defaults={
                "id": caller_id,
                "number_sealed": key.seal(normalised(number), place),
                "data_key_sealed": sealed,
                "tail_hash": tail_hash(number),
                "locale": locale,
            },
        )
    return opened(row)


def identity(row: Caller, *, with_name: bool = True) -> tuple[str, str]:
    """Number and name of a caller's row, for an operator; no name without a card. Raises ``SealBroken``."""
    person, card = opened(row), getattr(row, "card", None) if with_name else None
    number = person.open(row.number_sealed, "caller", row.pk, "number")
    return number, person.open(card.name_sealed, "card", row.pk, "name") if card else ""


def number_of(person: Person) -> str:
    """The caller's number, for an operator who may see it."""
    sealed = Caller.objects.values_list("number_sealed", flat=True).get(pk=person.id)
    return person.open(sealed, "caller", person.id, "number")


def sealed_key(person: Person) -> bytes:
    """The caller's key as it is stored, for a copy of the card elsewhere."""
    return surroundings.keyring().sealed(person.key, str(person.id))


def opened(row: Caller) -> Person:
    """A caller's row with its key. Raises ``SealBroken`` where ``MEMORY_KEY`` does not open it."""
    key = surroundings.keyring().open(row.data_key_sealed, str(row.pk))
    return Person(row.pk, row.key_hash, row.locale, key)
