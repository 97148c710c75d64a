"""``MCPMemoryManager``: the one door to what is remembered. Calls, commands, admin, tasks and the MCP server use it.

Three levels behind it: L1 in Redis and in the process (the card, what was told in a call), L2 the index of a caller by
meaning and words, L3 the archive in PostgreSQL, which everything can be rebuilt from.

Methods without ``async`` talk to the database: call them from a thread. A ``Person`` comes from ``find`` or ``by_id``:
whoever asks has decided before whose memory may be read.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from django.utils import timezone

from memory import people, selectors, surroundings
from memory.core import budget
from memory.core.budget import ITEM_CHARS, context, shortened
from memory.core.index import CallerIndex, Ranking
from memory.core.text import question
from memory.core.values import Card, Hit, Kind, Level, Said
from memory.live import LOOKED_AT, CallMemory, NotRemembered, Outcome, Recollection, index_of
from memory.selectors import Fact, Line
from memory.services import cards, chain, correcting, erasure, exporting, tombstones
from memory.services.importing import Import
from memory.services.writing import Erased, refuse_erased, write_conversation
from memory.stores.l1 import L1

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime
    from typing import Any

    from memory.embedding.port import Embedder
    from memory.models import ErasureRequest
    from memory.people import Person
    from memory.services.importing import Progress
    from memory.services.writing import Written

__all__ = [
    "ITEM_CHARS",
    "CallMemory",
    "Card",
    "Erased",
    "Fact",
    "Hit",
    "Line",
    "MCPMemoryManager",
    "NotRemembered",
    "Outcome",
    "Recollection",
    "Said",
    "context",
    "current",
    "shortened",
]

#: Longest question that is looked at; what was said is at most this long too.
MOST_QUERY_CHARS = 100_000
#: By whose vectors a search compares.
LOCAL, OPENAI = "local", "openai"


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked up by its id: a fact, or a line with those around it."""

    fact: Fact | None = None
    line: Line | None = None
    around: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A recall tried out. L1 is the ``card`` (``on_card``: ids of its facts), L2 the index of ``rows``, L3 what was fetched
    from the archive of a caller with more than an index holds (``archived`` rows; ``archive_ms`` is ``None`` where the
    index holds all). A call loads card and index while it rings: ``card_ms`` and ``load_ms`` are no part of a recall."""

    recollection: Recollection
    card: Card
    on_card: frozenset[str]
    rows: int
    archived: int
    card_ms: float
    load_ms: float
    embed_ms: float
    archive_ms: float | None
    search_ms: float


class MCPMemoryManager:
    """The memory of this process. Made by ``current``; tests make their own with a stand-in of the embedding's port."""

    def __init__(self, embedder: Callable[[], Embedder], l1: L1) -> None:
        self._load_embedder = embedder
        self.l1 = l1

    @property
    def embedder(self) -> Embedder:
        """The local embedding, loaded at the first use (some 0.2 s)."""
        return self._load_embedder()

    # --- whose memory -------------------------------------------------------------------------------------------------

    def find(self, caller: str) -> Person | None:
        """The caller with this number, or with this id."""
        return people.by_id(caller) or people.find(caller)

    # --- reading ------------------------------------------------------------------------------------------------------

    def search(
        self,
        person: Person,
        query: str,
        *,
        limit: int = 10,
        kinds: Collection[str] | None = None,
        as_of: datetime | None = None,
        meaning: str = LOCAL,
    ) -> list[Hit]:
        """The best ``limit`` rows for a question, best first; ``in_prompt`` and ``why_not`` say what a call would do.

        ``as_of`` searches the facts that were true then, and what was said until then. ``meaning`` ``openai`` compares by
        that vendor's vectors, where OPENAI_EMBEDDING_MODEL names a model: better, at a network's price. Raises
        ``ValueError`` for a query without content or longer than ``MOST_QUERY_CHARS``, and for a meaning that is not
        there; ``EmbeddingError`` where the vendor fails.
        """
        asked = self._asked(query)
        with self._compared(meaning) as (embedder, column):
            held = selectors.held(person, embedder.name, as_of=as_of, column=column)
            index = CallerIndex(held.rows, Ranking(unrelated_cosine=embedder.unrelated_cosine))
            vector = embedder.embed_query(index.in_first_person(asked))
            if not held.is_whole:
                for row in selectors.legs(person, asked, vector.tobytes(), embedder.name, column):
                    if as_of is None or row.said_at <= as_of:
                        index.put(row)
        wanted = len(index) if kinds else limit
        hits = budget.choose(index.search(asked, vector, as_of or timezone.now(), wanted))
        return [hit for hit in hits if not kinds or hit.row.kind in kinds][:limit]

    def get(self, person: Person, row_id: str) -> Found | None:
        """A fact with its sources and history, or what was said with the lines around it."""
        wanted = people.as_id(row_id)
        if wanted is None:
            return None
        if facts := selectors.facts(person, ids=[wanted]):
            return Found(fact=facts[0])
        lines = selectors.lines(person, ids=[wanted], told=True)
        if not lines:
            return None
        line = lines[0]
        every = selectors.lines(person, conversation=line.conversation, told=True)
        return Found(line=line, around=tuple(one for one in every if abs(one.seq - line.seq) <= 3))

    def timeline(
        self, person: Person, *, as_of: datetime | None = None, known_at: datetime | None = None, slot: str = ""
    ) -> list[Fact]:
        """Facts by slot, newest first: those true ``as_of`` then, as we knew it ``known_at`` then; without, all."""
        return selectors.facts(person, as_of=as_of, known_at=known_at, slot=slot)

    def profile(self, person: Person) -> Card:
        """The card as a call would get it; empty where none was built yet."""
        return selectors.card(person) or Card()

    def summaries(self, person: Person) -> list[Fact]:
        """The summaries of a caller's conversations, newest first."""
        every = selectors.facts(person, kinds=[Kind.SUMMARY.value])
        return sorted((one for one in every if one.retired_at is None), key=lambda one: one.valid_from, reverse=True)

    def probe(self, person: Person, text: str) -> Probe:
        """What a call of this caller would recall now for ``text``, with the time each part took. Raises ``ValueError``."""
        asked = self._asked(text)
        began = time.perf_counter()
        card, on_card = self.profile(person), cards.on_card(person, now=timezone.now())
        carded = time.perf_counter()
        index, is_whole = index_of(person, self.embedder)
        started = time.perf_counter()
        vector = self.embedder.embed_query(index.in_first_person(asked))
        embedded = time.perf_counter()
        older = [] if is_whole else selectors.legs(person, asked, vector.tobytes(), self.embedder.name)
        archived = {row.id for row in older if row.id not in index}
        for row in older:
            index.put(row)
        fetched = time.perf_counter()
        found = index.search(asked, vector, timezone.now(), LOOKED_AT)
        hits = budget.choose([replace(hit, level=Level.L3) if hit.row.id in archived else hit for hit in found])
        ended = time.perf_counter()
        recollection = Recollection(
            Outcome.FULL if len(index) else Outcome.EMPTY,
            round((ended - started) * 1000),
            tuple(hits),
            embedded_ms=round((embedded - started) * 1000),
            searched_ms=round((ended - embedded) * 1000),
        )
        return Probe(
            recollection,
            card,
            on_card,
            rows=len(index) - len(archived),
            archived=len(archived),
            card_ms=(carded - began) * 1000,
            load_ms=(started - carded) * 1000,
            embed_ms=(embedded - started) * 1000,
            archive_ms=None if is_whole else (fetched - embedded) * 1000,
            search_ms=(ended - fetched) * 1000,
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    def write_call(
        self,
        number: str,
        call_sid: str,
        said: Sequence[Said],
        *,
        began_at: datetime,
        ended_at: datetime | None = None,
        locale: str = "en",
    ) -> Written | None:
        """Write what was said in a call, and queue what is done with it; ``None`` for a withheld number, and for a caller
        who is not to be remembered. Raises ``Erased``."""
        key_hash = people.hash_of(number)
        if not key_hash or tombstones.never(key_hash):
            return None
        refuse_erased(key_hash, call_sid, began_at)  # before anything of the caller is made anew
        person = people.ensure(number, locale)
        written = write_conversation(person, call_sid, said, began_at=began_at, ended_at=ended_at)
        chain.send(person.id, written.conversation_id)
        return written

    def store(self, person: Person, *, kind: str, text: str, slot: str = "", value: str = "", by: str) -> Fact:
        """Enter a fact. Raises ``ValueError`` that says what makes no sense, ``memory.services.writing.Erased``."""
        return correcting.store(person, kind, text, slot=slot, value=value, by=by, now=timezone.now())

    def supersede(
        self, person: Person, fact_id: str, *, text: str, value: str = "", was_wrong: bool = False, by: str
    ) -> Fact:
        """Put another fact in the place of one. ``was_wrong``: it never was true. Raises ``LookupError``, ``ValueError``."""
        return correcting.supersede(person, fact_id, text, value, by=by, now=timezone.now(), was_wrong=was_wrong)

    def retract(self, person: Person, fact_id: str, *, by: str) -> Fact:
        """A fact is true no more; it stays in the history. Raises ``LookupError``."""
        return correcting.retract(person, fact_id, by=by, now=timezone.now())

    # --- forgetting: with a tombstone and a receipt -------------------------------------------------------------------

    def forget(self, person: Person, fact_id: str, *, by: str) -> ErasureRequest:
        """Forget a fact, what it replaced, and the words it was heard in. Raises ``LookupError``."""
        return erasure.forget_fact(person, fact_id, by=by, now=timezone.now())

    def forget_conversation(self, person: Person, name: str, *, by: str) -> ErasureRequest:
        """Forget a conversation and what was heard nowhere else. Raises ``LookupError``."""
        return erasure.forget_conversation(person, name, by=by, now=timezone.now())

    def erase(self, person: Person, *, by: str) -> ErasureRequest:
        """Forget a caller."""
        return erasure.erase_caller(person, by=by, now=timezone.now())

    def erase_number(self, number: str, *, by: str) -> ErasureRequest:
        """The same for a number that may have records of calls and no memory. Raises ``ValueError`` for a withheld one."""
        return erasure.erase_number(number, by=by, now=timezone.now())

    # --- in and out ---------------------------------------------------------------------------------------------------

    def export(self, person: Person) -> Iterator[dict[str, Any]]:
        """All that is kept of a caller, as lines that ``import_lines`` takes."""
        return exporting.export(person)

    def import_lines(self, lines: Iterable[bytes | str], *, by: str, distil: bool = True) -> Iterator[Progress]:
        """Take lines in; tells how far it is. Broken ones are told by number. See ``memory.services.importing.Import``."""
        return Import(by, timezone.now(), distil=distil).run(lines)

    @contextmanager
    def _compared(self, meaning: str) -> Iterator[tuple[Embedder, selectors.Column]]:
        """The embedding that a search compares by, and where its vectors are."""
        if meaning == LOCAL:
            yield self.embedder, selectors.LOCAL
            return
        second = surroundings.second_embedder() if meaning == OPENAI else None
        if second is None:
            raise ValueError(f"there is no meaning {meaning[:20]!r}: {OPENAI} needs OPENAI_EMBEDDING_MODEL")
        with closing(second):
            yield second, selectors.SECOND

    def _asked(self, query: str) -> str:
        if len(query) > MOST_QUERY_CHARS:
            raise ValueError(f"the query has {len(query)} characters; at most {MOST_QUERY_CHARS} are looked at")
        asked = question(query)
        if not asked:
            raise ValueError("the query is empty: say what to look for")
        return asked


@cache
def current() -> MCPMemoryManager:
    """The memory of this process, by its settings."""
    return MCPMemoryManager(surroundings.embedder, L1(surroundings.new_redis()))
