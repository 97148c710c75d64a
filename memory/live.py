"""One call's view of its caller's memory: the card before the first word, then recall within a deadline.

Nothing here may disturb a call: what fails is an outcome, what is late is left out. All of it lives in the event loop;
the database, Redis and the embedding work in threads. What is held in the process goes with the call, and at once when
the caller's memory is erased.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import structlog
from channels.db import database_sync_to_async

from memory import people, selectors
from memory.core import budget, told
from memory.core import card as cards
from memory.core.index import CallerIndex, Ranking
from memory.core.learning import learned
from memory.core.text import question
from memory.core.values import Card, Hit, Kind, Known, Level, Origin, Row, Status
from memory.embedding.port import Embedder
from memory.embedding.vectors import vectors_for
from memory.keys import What
from memory.meaning import Meaning
from memory.services import tombstones, wishes
from memory.services.uses import count_uses
from memory.stores.l1 import L1, Told

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from uuid import UUID

    from memory.people import Person

_log = structlog.get_logger(__name__)

#: What of a deadline is kept for the search, and for the way back to whoever asked.
_SEARCH_S = 0.004
#: Items that a recall looks at; the prompt's budget admits fewer.
LOOKED_AT = 20
_MOST_TOLD_CHARS = 500


class NotRemembered(ValueError):
    """What was to be remembered is not what the caller said; the message says why, to the model."""


class Outcome(StrEnum):
    """How a recall went. ``FULL``: by meaning and words. ``WORDS``: the meaning came too late. ``LATE``: nothing but the
    card is there yet. ``EMPTY``: nothing is known of this caller. ``FAILED``."""

    FULL = "full"
    WORDS = "words"
    LATE = "late"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recollection:
    """What a recall gave: every hit that was looked at, best first, each with whether it is for the prompt.

    ``embedded_ms``, ``searched_ms``: what of ``took_ms`` went into the question's vector and into the search.
    """

    outcome: Outcome
    took_ms: int
    hits: tuple[Hit, ...] = ()
    embedded_ms: int = 0
    searched_ms: int = 0


def index_of(person: Person | None, embedder: Embedder) -> tuple[CallerIndex, bool]:
    """A caller's index, and whether it holds everything; empty for nobody."""
    ranking = Ranking(unrelated_cosine=embedder.unrelated_cosine)
    if person is None:
        return CallerIndex((), ranking), True
    held = selectors.held(person, embedder.name)
    return CallerIndex(held.rows, ranking), held.is_whole


@dataclass(frozen=True, slots=True)
class Resources:
    """What the calls of a process share. ``embedding`` and ``indexing`` have a thread each: their work keeps a core busy,
    and more of them would only keep the event loop from it."""

    embedder: Embedder
    l1: L1
    database: Executor
    embedding: Executor
    indexing: Executor
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def in_database[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query in the threads of our own, never on the shared one."""
        return await _in(self.database, function, *args, **kwargs)

    async def in_index[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what reads and counts a whole memory, one at a time."""
        return await _in(self.indexing, function, *args, **kwargs)


async def _in[**P, R](executor: Executor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    call = database_sync_to_async(function, thread_sensitive=False, executor=executor)
    result: R = await call(*args, **kwargs)
    return result


class CallMemory:
    """Made when a call rings, and begins to load at once. ``aclose`` when the call is over."""

    def __init__(self, resources: Resources, call_sid: str, number: str, locale: str = "en") -> None:
        self.call_sid = call_sid
        self.key_hash = people.hash_of(number)
        self._resources = resources
        self._number = number
        self._locale = locale
        self._meaning = Meaning(resources.embedder, resources.embedding)
        self._person: Person | None = None
        self._card: asyncio.Future[Card] = asyncio.get_running_loop().create_future()
        self._index: CallerIndex | None = None
        self._is_whole = True
        self._is_erased = False
        self._is_unwanted = False
        self._changes = 0
        self._before = ""
        #: What belongs to this call alone, by id: said in it, or told to be remembered. It is not in the database yet.
        self._own: dict[str, Row] = {}
        self._used: set[str] = set()
        #: Nothing of this call reaches what is kept of the caller: told, forgotten or counted, it is so in this call alone.
        self.reads_only = False
        #: Called once, when the memory is closed; and with each card that stands in place of the first.
        self.on_close: Callable[[], object] = lambda: None
        self.on_card: Callable[[Card], object] = lambda _: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loading = self._task(self._load())

    # --- before the first word ----------------------------------------------------------------------------------------

    async def card(self) -> Card:
        """What is known of the caller, as soon as it is; empty for a stranger, a withheld number, or on any failure."""
        return await asyncio.shield(self._card)

    async def loaded(self) -> None:
        """Return when the index stands, or could not be made."""
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        changes = self._changes
        card = Card()
        try:
            card = await self._resources.in_database(self._read_card)
        except Exception as error:  # noqa: BLE001 - a call without its card is a call
            _log.warning("memory.card_failed", call_sid=self.call_sid, error=type(error).__name__)
        finally:
            self._show(card, changes)
        await self._load_index()

    def _show(self, card: Card, changes: int) -> None:
        if not self._card.done():
            self._card.set_result(card)
        elif changes == self._changes:
            self._card = asyncio.get_running_loop().create_future()
            self._card.set_result(card)
            self.on_card(card)

    async def _load_index(self) -> None:
        changes = self._changes
        try:
            index, is_whole = await self._resources.in_index(self._read_index)
        except Exception as error:  # noqa: BLE001 - recall then has the card alone
            _log.warning("memory.index_failed", call_sid=self.call_sid, error=type(error).__name__)
            return
        if changes != self._changes:
            return  # what was read is what was changed since; whoever changed it began to read again
        for row in self._own.values():
            index.put(row)
        self._index, self._is_whole = index, is_whole

    def _read_card(self) -> Card:
        if not self.key_hash:
            return Card()
        prepared = self._resources.l1.card(self.key_hash)
        if prepared is not None:
            self._person = prepared.person
            return prepared.card
        self._person = people.by_hash(self.key_hash)
        card = selectors.card(self._person) if self._person else None
        if self._person and card:
            self._resources.l1.put_card(self._person, people.sealed_key(self._person), card)
        # Last: a card that was laid after the caller's word not to be remembered is taken away here.
        self._is_unwanted = tombstones.never(self.key_hash)
        if self._is_unwanted:
            self._resources.l1.drop_card(self.key_hash)
            return Card()
        return card or Card()

    def _read_index(self) -> tuple[CallerIndex, bool]:
        """In a thread, while the greeting is spoken: to read 2,000 rows and count their words takes some 100 ms."""
        # The card in Redis may outlive its caller by a moment: rows are asked of the database alone.
        self._person = people.by_hash(self.key_hash) if self.key_hash else None
        self._is_unwanted = tombstones.never(self.key_hash)
        return index_of(None if self._is_unwanted else self._person, self._resources.embedder)

    # --- while the call runs ------------------------------------------------------------------------------------------

    def hear(self, text: str) -> None:
        """Interim words of the caller: what they mean is wanted soon."""
        if self._index is None or self._knows_more(self._index):
            asked = question(text, self._before)
            self._meaning.expect(asked if self._index is None else self._index.in_first_person(asked))

    def note(self, role: str, text: str, seq: int, at_ms: int = -1) -> None:
        """What was said in this call, so that it is understood with what came before it, and what the caller corrects in
        it counts from now on. ``role``: user or assistant; ``at_ms``: where in the call's recording."""
        before, self._before = self._before, text if role == "assistant" else self._before
        origin = Origin(self.call_sid, seq, 0, len(text), at_ms, text)
        line = Row(f"{self.call_sid}:{seq}", Kind.UTTERANCE, text, self._resources.now(), role, origin=origin)
        self._put(line)
        if role == "user" and self._index is not None:
            changed = learned(line, before, self._index.facts(), self._locale)
            for row in changed:
                self._put(row)
                if row.status is Status.ACTIVE:
                    self._task(self._embed(row))
            gone = [row.text for row in changed if row.status is not Status.ACTIVE]
            if gone and self._card.done():
                self._show(cards.without(self._card.result(), gone), self._changes)

    async def recall(self, text: str, deadline_ms: int) -> Recollection:
        """What of the memory may help with ``text``, within ``deadline_ms``. Never raises."""
        started = self._resources.clock()
        try:
            return await self._recall(text, started, started + deadline_ms / 1000 - _SEARCH_S)
        except Exception as error:  # noqa: BLE001 - a reply without memory is a reply
            _log.warning("memory.recall_failed", call_sid=self.call_sid, error=type(error).__name__)
            return Recollection(Outcome.FAILED, self._since(started))

    async def _recall(self, text: str, started: float, deadline: float) -> Recollection:
        index = self._index
        if index is None:
            return Recollection(Outcome.EMPTY if self._is_erased else Outcome.LATE, self._since(started))
        if not self._knows_more(index):
            return Recollection(Outcome.EMPTY, self._since(started))
        asked = question(text, self._before)
        vector = await self._meaning.of(index.in_first_person(asked), deadline - self._resources.clock())
        embedded = self._resources.clock()
        if not self._is_whole:
            await self._fetch(asked, b"" if vector is None else vector.tobytes(), deadline - embedded)
        hits = [self._of_this_call(hit) for hit in index.search(asked, vector, self._resources.now(), LOOKED_AT)]
        chosen = budget.choose(hits, words_only=vector is None)
        self._used.update(hit.row.id for hit in chosen if hit.in_prompt and hit.row.kind is not Kind.UTTERANCE)
        return Recollection(
            Outcome.WORDS if vector is None else Outcome.FULL,
            self._since(started),
            tuple(chosen),
            embedded_ms=int((embedded - started) * 1000),
            searched_ms=self._since(embedded),
        )

    def _knows_more(self, index: CallerIndex) -> bool:
        """Whether there is anything but the lines of this call, which the model has before it already: else nothing need
        be embedded for a stranger."""
        return len(index) > sum(row.kind is Kind.UTTERANCE for row in self._own.values())

    def _of_this_call(self, hit: Hit) -> Hit:
        """What was said in this call stands in the model's history already."""
        if hit.row.id not in self._own:
            return hit
        told = hit.row.kind is not Kind.UTTERANCE
        return replace(hit, level=Level.L1, why_not=hit.why_not if told else "history")

    async def _fetch(self, asked: str, vector: bytes, within_s: float) -> None:
        """Take in what the database has of a caller with more rows than are held, as far as it comes in time."""
        person = self._person
        assert person is not None  # noqa: S101 - a memory that is not whole has an owner
        fetching = self._task(
            self._resources.in_database(selectors.legs, person, asked, vector, self._resources.embedder.name)
        )
        done, _ = await asyncio.wait((fetching,), timeout=max(within_s, 0))
        if done and self._index is not None:
            for row in fetching.result():
                self._index.put(row)

    async def remember(self, text: str, key: str, turn: int, said: str) -> bool:
        """Keep what the caller asked to be remembered: found from now on in this call, a fact after it.

        The same ``key`` once. ``False`` where it is kept for this call only: the number is withheld, or was erased, or the call
        reads only.
        Raises ``NotRemembered`` where it is not what the caller said in this turn (``said``), or instructs.
        """
        if why := told.refusal(text, said, self._locale):
            raise NotRemembered(why)
        row_id = f"told:{key}"
        is_known = bool(self.key_hash) and not (self._is_erased or self._is_unwanted or self.reads_only)
        if row_id in self._own:
            return is_known
        text = text.strip()[:_MOST_TOLD_CHARS]
        row = Row(row_id, Kind.FACT, text, self._resources.now(), importance=0.8)
        self._put(row)
        if is_known:
            await self._resources.in_database(self._tell, Told(key, turn, text))
        await self._embed(row)
        return is_known

    async def _embed(self, row: Row) -> None:
        """Give a row of this call its meaning, unless it is gone or another by then."""
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(
                self._resources.embedding, vectors_for, [row], self._resources.embedder
            )
        except Exception as error:  # noqa: BLE001 - it is found by its words
            _log.warning("memory.embedding_failed", call_sid=self.call_sid, error=type(error).__name__)
            return
        if self._own.get(row.id) is row:
            self._put(replace(row, vector=vectors[0]))

    async def forget(self, what: str) -> list[str]:
        """Forget what the caller means by ``what``, here and everywhere. The texts of what was forgotten; empty where
        nothing fits. Raises what the database raises: then nothing may be said to be forgotten."""
        person = self._person
        gone = [row for row in self._own.values() if row.kind is not Kind.UTTERANCE and self._fits(what, row)]
        for row in gone:
            del self._own[row.id]
            if self._index is not None:
                self._index.discard(row.id)
        texts = [row.text for row in gone]
        if person is None or self.reads_only:
            return texts
        if gone:
            keys = {row.id.partition(":")[2] for row in gone}
            await asyncio.to_thread(self._resources.l1.untell, person, self.call_sid, keys)
        return texts + await self._resources.in_database(wishes.forget, person, what, now=self._resources.now())

    def _fits(self, what: str, row: Row) -> bool:
        """Whether something that was told in this call is meant."""
        told = Known(row.id, row.kind, row.text)
        found = wishes.meant(what, [told], now=self._resources.now(), language=self._locale)
        return found is None or bool(found)

    def _tell(self, item: Told) -> None:
        self._person = self._person or people.ensure(self._number, self._locale)
        self._resources.l1.tell(self._person, self.call_sid, item)

    def _put(self, row: Row) -> None:
        if self._is_erased:
            return
        self._own[row.id] = row
        if self._index is not None:
            self._index.put(row)

    # --- what others did ----------------------------------------------------------------------------------------------

    def is_of(self, caller_id: UUID) -> bool:
        """Whether this caller's memory is held here."""
        return self._person is not None and self._person.id == caller_id

    def changed(self, what: What) -> None:
        """Somebody corrected, forgot or erased something of this caller: nothing of it is used from here on."""
        self._meaning.close()
        self._changes += 1
        self._index = None
        if what is What.ERASED:
            self._is_erased = True
            self._own.clear()
            self._person = None
            self._show(Card(), self._changes)
        else:
            self._loading = self._task(self._load())

    async def aclose(self) -> None:
        """Let go of everything, and count what was of use."""
        self.on_close()
        self._meaning.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        person, used = self._person, sorted(self._used - set(self._own))
        self._index = None
        self._own.clear()
        if person is not None and used and not self.reads_only:
            try:
                await self._resources.in_database(count_uses, person, used, self._resources.now())
            except Exception as error:  # noqa: BLE001 - a count is no fact
                _log.warning("memory.uses_not_counted", call_sid=self.call_sid, error=type(error).__name__)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _task[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.call_sid}:memory")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _since(self, started: float) -> int:
        return int((self._resources.clock() - started) * 1000)
