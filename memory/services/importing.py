"""Lines of JSON into the memory: what was said by conversation in line order, facts as entered ones.

A line that cannot be taken is named by its number, and the rest goes in. The same file again changes nothing: a line is
known by who said what when, a fact by its value and its source. So an import that was interrupted is simply run again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Exists

from memory import people
from memory.callers import is_address, normalised
from memory.core.text import BEFORE_TURNS
from memory.core.values import Said
from memory.db import erasing, scoped
from memory.models import Caller, Conversation, Memory, Utterance
from memory.people import Person
from memory.services import chain, correcting, restoring, tombstones
from memory.services.bench import ENTERED, Bench, bench
from memory.services.checking import Bad
from memory.services.embedding import embed_conversation, embed_facts
from memory.services.lines import CallerLine, FactLine, Line, SpokenLine, parsed
from memory.services.writing import Erased, write_conversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BATCH = 500
#: What was said cannot lie before the first import of anything, nor ahead of a clock that may be a little wrong.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that was not taken."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is. ``taken``: lines that are in the memory now, ``known`` those of them that were there already.
    ``failures`` are those since the last report."""

    lines: int = 0
    taken: int = 0
    said: int = 0
    facts: int = 0
    known: int = 0
    failed: int = 0
    embedded: int = 0
    to_embed: int = 0
    failures: tuple[Failure, ...] = ()


@dataclass(slots=True)
class _Talk:
    """A conversation as this run finds it. ``there`` counts the lines from before the run that no line was matched to."""

    there: Counter[str] = field(default_factory=Counter)
    seqs: set[int] = field(default_factory=set)
    next_seq: int = 0
    tail: list[Said] = field(default_factory=list)


@dataclass(slots=True)
class Import:
    """One run. ``by`` names who imports; ``distil``: facts are to be found in what was said."""

    by: str
    now: datetime
    distil: bool = True
    _said: int = 0
    _facts: int = 0
    _known: int = 0
    _failures: list[Failure] = field(default_factory=list)
    _failed: int = 0
    _given: int = 0
    _made: set[UUID] = field(default_factory=set)
    _people: dict[str, Person] = field(default_factory=dict)
    _talks: dict[tuple[UUID, str], _Talk] = field(default_factory=dict)
    _touched: dict[UUID, UUID] = field(default_factory=dict)
    _ids: dict[str, UUID] = field(default_factory=dict)

    def run(self, lines: Iterable[bytes | str]) -> Iterator[Progress]:
        """Take lines in; reports after each batch, then after each conversation that was embedded.

        May be stopped between two reports. Raises ``memory.embedding.port.EmbeddingError`` once everything is written.
        """
        read = 0
        for batch in batched(lines, _BATCH):
            good: list[tuple[int, Line]] = []
            for raw in batch:
                read += 1
                try:
                    line = parsed(raw)
                except Bad as error:
                    self._given += 1
                    self._fail(read, str(error))
                    continue
                if line is not None:
                    good.append((read, line))
                    self._given += 1
            self._take(good)
            yield self._report(read)
        for embedded in self._embed():
            yield replace(self._report(read), embedded=embedded, to_embed=len(self._touched))

    def _report(self, read: int) -> Progress:
        failures, self._failures = tuple(sorted(self._failures, key=lambda one: one.line)), []
        taken = self._given - self._failed
        return Progress(read, taken, self._said, self._facts, self._known, self._failed, failures=failures)

    def _fail(self, line: int, why: str) -> None:
        self._failures.append(Failure(line, why))
        self._failed += 1

    # --- writing ------------------------------------------------------------------------------------------------------

    def _take(self, batch: list[tuple[int, Line]]) -> None:
        """What was said first: facts may quote it."""
        spoken: defaultdict[tuple[UUID, str], list[tuple[int, SpokenLine]]] = defaultdict(list)
        facts: defaultdict[UUID, list[tuple[int, FactLine]]] = defaultdict(list)
        persons: dict[UUID, Person] = {}
        for number, line in batch:
            try:
                self._refuse_time(line)
                person = self._person(line)
            except ValueError as error:
                self._fail(number, f"caller: {error}" if not isinstance(error, Bad) else str(error))
                continue
            persons[person.id] = person
            if isinstance(line, SpokenLine):
                spoken[person.id, line.conversation].append((number, line))
            elif isinstance(line, FactLine):
                facts[person.id].append((number, line))
            else:
                self._set(person, line)
        for (owner, name), said in spoken.items():
            self._write(persons[owner], name, said)
        for owner, entered in facts.items():
            self._enter(persons[owner], entered)
        self._leave_no_trace()

    def _refuse_time(self, line: Line) -> None:
        at = getattr(line, "said_at", None)
        if at is not None and not _EARLIEST <= at <= self.now + _AHEAD:
            raise Bad(f"said_at: lies {'before 1970' if at < _EARLIEST else 'in the future'}")

    def _person(self, line: Line) -> Person:
        """Whose line it is; made if new, unless it is of somebody who was erased since. Raises ``ValueError``."""
        caller = line.caller
        if caller not in self._people:
            known = people.by_id(caller) or people.find(caller)
            if known is None:
                if people.as_id(caller) is not None:
                    raise Bad("there is no caller with this id")
                if normalised(caller) and not is_address(caller):
                    raise Bad("caller: is no number; write it with + and country code")
                self._refuse_erased(line)
                known = people.ensure(caller)
                self._made.add(known.id)
            self._people[caller] = known
        return self._people[caller]

    def _leave_no_trace(self) -> None:
        """Somebody who was new and of whom every line was refused was not to be kept, the number least of all."""
        for made in self._made:
            kept = (model.objects.filter(caller_id=made) for model in (Conversation, Memory))
            with erasing():
                gone, _ = Caller.objects.filter(*(~Exists(rows) for rows in kept), pk=made).delete()
            if gone:
                self._people = {caller: one for caller, one in self._people.items() if one.id != made}
        self._made.clear()

    def _refuse_erased(self, line: Line) -> None:
        at = getattr(line, "said_at", None) or (self.now if isinstance(line, FactLine) else None)
        erased_at = tombstones.forgotten(people.hash_of(line.caller)).everything
        if erased_at is not None and (at is None or at <= erased_at):
            raise Bad("the caller was erased since")

    def _set(self, person: Person, line: CallerLine) -> None:
        changed = Caller.objects.filter(pk=person.id).exclude(locale=line.locale, retention_days=line.retention_days)
        if not changed.update(locale=line.locale, retention_days=line.retention_days):
            self._known += 1
        self._people.pop(line.caller)
        self._made.discard(person.id)

    def _write(self, person: Person, name: str, lines: list[tuple[int, SpokenLine]]) -> None:
        """Write those lines of a conversation that are not there."""
        talk = self._talks.get((person.id, name))
        if talk is None:
            talk = self._talks[person.id, name] = _talk(person, name)
        said: list[Said] = []
        for _, line in lines:
            known = _mark(line.role, line.text, line.said_at)
            if (line.seq is not None and line.seq in talk.seqs) or (line.seq is None and talk.there[known] > 0):
                talk.there[known] -= line.seq is None
                self._known += 1
                continue
            seq = talk.next_seq if line.seq is None else line.seq
            talk.next_seq = max(talk.next_seq, seq + 1)
            talk.seqs.add(seq)
            said.append(_said(line, seq))
        times = [line.said_at for _, line in lines]
        try:
            written = write_conversation(
                person,
                name,
                [*talk.tail, *said],
                began_at=min(times),
                ended_at=max(times),
                origin=lines[0][1].origin,
            )
        except Erased as error:
            for number, _ in lines:
                self._fail(number, str(error))
            return
        talk.tail = [*talk.tail, *said][-BEFORE_TURNS:]
        self._said += written.added
        self._touched[written.conversation_id] = person.id

    def _enter(self, person: Person, lines: list[tuple[int, FactLine]]) -> None:
        try:
            with bench(person, None, by=self.by, now=self.now) as work:
                for number, line in lines:
                    try:
                        with transaction.atomic():
                            new = self._fact(work, line)
                    except Bad as error:
                        self._fail(number, str(error))
                        continue
                    self._facts += new
                    self._known += not new
        except Erased as error:
            for number, _ in lines:
                self._fail(number, str(error))
            return
        correcting.tell(person, self.now)

    def _fact(self, work: Bench, line: FactLine) -> bool:
        """Whether it is new."""
        if line.life is not None:
            return restoring.restore(work, line, line.life, self._ids)
        at = min(line.said_at or self.now, self.now)
        work.by = f"import:{line.source}"[:160] if line.source else self.by
        work.how = replace(work.how, said_at={ENTERED: at})
        return correcting.enter(work, line.kind, line.text, line.slot, line.value, once=True)

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _embed(self) -> Iterator[int]:
        """Give everything its meaning, and queue what else is done with a conversation."""
        for done, (conversation, owner) in enumerate(self._touched.items(), 1):
            if (person := people.by_id(owner)) is not None:
                embed_conversation(person, conversation)
                if self.distil and Conversation.objects.filter(pk=conversation, distilled_at=None).exists():
                    chain.send(owner, conversation)
            yield done
        for person in {one.id: one for one in self._people.values()}.values():
            embed_facts(person)


def _talk(person: Person, name: str) -> _Talk:
    """What is there of a conversation before the run."""
    with scoped(person.id):
        rows = list(Utterance.objects.filter(caller_id=person.id, conversation__name=name).order_by("seq"))
    talk = _Talk(next_seq=max((row.seq for row in rows), default=-1) + 1, seqs={row.seq for row in rows})
    for row in rows:
        text = person.open(row.text_sealed, "utterance", row.pk, "text")
        talk.there[_mark(row.role, text, row.said_at)] += 1
        talk.tail = [*talk.tail, Said(row.seq, row.role, text, row.said_at)][-BEFORE_TURNS:]
    return talk


def _mark(role: str, text: str, said_at: datetime) -> str:
    """What a line is known by."""
    return hashlib.sha256(f"{role}\x1f{said_at.timestamp()}\x1f{text}".encode()).hexdigest()


def _said(line: SpokenLine, seq: int) -> Said:
    return Said(
        seq,
        line.role,
        line.text,
        line.said_at,
        audio_ms=line.audio_ms,
        audio_end_ms=line.audio_end_ms,
        confidence=line.confidence,
        heard_text=line.heard_text,
        label=line.source,
    )
