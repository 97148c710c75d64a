"""From what was said in a conversation to what is worth knowing: by rules always, by a model where one is configured.

Only the caller's own lines are read for facts; the agent's are context, and what tools or the memory itself said is not
there at all. The model's answer is a claim: ``memory.core.distil`` believes of it what the caller's words bear out.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from django.db.models import F

from memory import surroundings
from memory.core import distil as reading
from memory.core import rules
from memory.core.pairs import PAIR_SCHEMA, pair_prompt, parse_verdicts
from memory.core.summary import summarise
from memory.core.unwanted import without_forgotten
from memory.core.values import Kind, Said
from memory.db import scoped
from memory.models import Conversation, Utterance
from memory.services import merging
from memory.services.asking import Asker, AskFailed
from memory.services.summaries import replace_summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from memory.core.decisions import Ask, Verdict
    from memory.core.values import Candidate, Known
    from memory.people import Person
    from memory.services.bench import Applied
    from memory.services.merging import Judge
    from memory.surroundings import Access

_log = structlog.get_logger(__name__)

#: A conversation that was begun so often and never finished is left alone: whatever kills its worker would do so again.
MOST_ATTEMPTS = 12
#: Stands in place of a model's name with what the assistant was told to remember.
_TOLD = "told"


@dataclass(frozen=True, slots=True)
class Distilled:
    """What came of a conversation. ``changed`` facts were made, reinforced or ended; ``dropped`` counts why candidates
    came to nothing. ``is_done`` is false where it had been done, or cannot be."""

    changed: int = 0
    dropped: Counter[str] | None = None
    is_done: bool = True


def version(access: Access | None) -> str:
    """Which extractors read a conversation; another one reads it anew."""
    model = f"+{reading.VERSION}:{access.model}" if access else ""
    return f"{rules.EXTRACTOR}{model}"[:120]


def distil(
    person: Person,
    conversation_id: UUID,
    *,
    now: datetime,
    told: Iterable[tuple[int, str]] = (),
    by_rules_alone: bool = False,
) -> Distilled:
    """Read a conversation for facts, and merge them with those that are known.

    ``told`` is what the assistant was asked to remember in it: the place of the caller's line, and the words it chose.
    Once for each version of the extractors. Raises ``AskFailed`` where the model did not answer; what the rules found is
    kept then, and either it is done again or ``give_up`` ends it. ``by_rules_alone`` asks no model.
    """
    access = None if by_rules_alone else surroundings.distil_access()
    conversation = _begin(person, conversation_id, version(access))
    if conversation is None:
        return Distilled(is_done=False)
    lines = lines_of(person, conversation_id)
    work = _Work(person, conversation_id, now)
    if access is None:
        work.by_rules(lines, told, conversation.locale, None)
        work.sum_up()
    else:
        with Asker(access) as asker:
            work.by_rules(lines, told, conversation.locale, asker)
            work.sum_up()
            work.by_model(lines, asker)
    _end(person, conversation_id, version(access), now)
    _log.info("memory.distilled", conversation=str(conversation_id), changed=work.changed, dropped=dict(work.dropped))
    return Distilled(work.changed, work.dropped)


def give_up(person: Person, conversation_id: UUID, why: str, *, now: datetime) -> None:
    """Leave it at what the rules found: the model has no answer to this, or none for too long."""
    _log.warning("memory.distilled_by_rules_alone", conversation=str(conversation_id), reason=why)
    _end(person, conversation_id, version(None), now, why)


def lines_of(person: Person, conversation_id: UUID) -> list[Said]:
    """What was said, in order."""
    with scoped(person.id):
        rows = Utterance.objects.filter(caller_id=person.id, conversation_id=conversation_id).order_by("seq")
        rows = rows.defer("words", "vector", "openai_vector")
        return [
            Said(
                seq=row.seq,
                role=row.role,
                text=person.open(row.text_sealed, "utterance", row.pk, "text"),
                said_at=row.said_at,
                audio_ms=row.audio_ms,
                confidence=row.confidence,
                heard_text=person.open(row.heard_sealed, "utterance", row.pk, "heard"),
            )
            for row in rows
        ]


def _begin(person: Person, conversation_id: UUID, wanted: str) -> Conversation | None:
    with scoped(person.id):
        mine = Conversation.objects.filter(caller_id=person.id, pk=conversation_id)
        # Counted before it is tried: an attempt that kills its worker counts too.
        mine.update(distil_attempts=F("distil_attempts") + 1)
        conversation = mine.first()
        if conversation is None or (conversation.distilled_at and conversation.distilled_by == wanted):
            return None
        if conversation.distil_attempts > MOST_ATTEMPTS:
            _log.error("memory.not_distilled", conversation=str(conversation_id), attempts=MOST_ATTEMPTS)
            mine.update(distil_error="too_many_attempts")
            return None
    return conversation


def _end(person: Person, conversation_id: UUID, by: str, now: datetime, error: str = "") -> None:
    with scoped(person.id):
        Conversation.objects.filter(caller_id=person.id, pk=conversation_id).update(
            distilled_at=now, distilled_by=by, distil_error=error[:200], distil_attempts=0
        )


class _Work:
    """The candidates of one conversation on their way into the facts."""

    def __init__(self, person: Person, conversation_id: UUID, now: datetime) -> None:
        self._person, self._conversation_id, self._now = person, conversation_id, now
        self.changed = 0
        self.dropped: Counter[str] = Counter()
        self._lines: Sequence[Said] = ()
        self._forgets: Sequence[rules.Forget] = ()
        #: Lines that say what the caller wanted forgotten later in the conversation: no summary quotes them.
        self._taken_back: frozenset[int] = frozenset()

    def by_rules(
        self, lines: Sequence[Said], told: Iterable[tuple[int, str]], language: str, asker: Asker | None
    ) -> None:
        """What the rules find, and what the assistant was told to remember."""
        judge = _judge(asker) if asker else None
        found = rules.extract_all(lines, language=language)
        self._forgets, self._lines = found.forgets, lines
        self._apply(found.candidates, "rules", judge)
        claims = reading.parse(_claims(lines, told), lines, model=_TOLD)
        self._drop(claims)
        self._apply(claims.candidates, "caller", judge)

    def sum_up(self) -> None:
        """One summary for the conversation, in place of those from when it was shorter."""
        summary = summarise([line for line in self._lines if line.seq not in self._taken_back])
        if summary is None:
            return
        for one in self._apply([summary], "rules", None):
            if one.fact_id:
                replace_summaries(self._person, self._conversation_id, one.fact_id, now=self._now)

    def by_model(self, lines: Sequence[Said], asker: Asker) -> None:
        """What the model finds. Raises ``AskFailed``."""
        for part in reading.batches(lines):
            system, user = reading.prompt(part, today=part[0].said_at.date())
            answer = asker.ask(system, user, name="facts", schema=reading.SCHEMA)
            parsed = reading.parse(answer, part, model=asker.model)
            self._drop(parsed)
            self._apply(parsed.candidates, "model", _judge(asker))

    def _drop(self, parsed: reading.Parsed) -> None:
        self.dropped.update(reason.value for _, reason in parsed.dropped)

    def _apply(self, candidates: Iterable[Candidate], by: str, judge: Judge | None) -> list[Applied]:
        kept, taken_back = without_forgotten(candidates, self._forgets, self._lines)
        self._taken_back |= taken_back
        done = merging.apply(self._person, self._conversation_id, kept, by=by, now=self._now, judge=judge)
        self.changed += sum(bool(one.fact_id) for one in done)
        self.dropped.update(one.why for one in done if one.why)
        return done


def _claims(lines: Sequence[Said], told: Iterable[tuple[int, str]]) -> str:
    """What the assistant was told, in the form of a model's answer: its words are the assistant's, so they are held
    against the caller's line like any other claim."""
    said = {line.seq: line.text for line in lines if line.role == "user"}
    items = [
        {
            "line": seq,
            "quote": said.get(seq, ""),
            "kind": Kind.FACT.value,
            "slot": "",
            "value": "",
            "text": text,
            "sure": "certain",
            "retracts": False,
            "until": "",
        }
        for seq, text in told
    ]
    return json.dumps({"facts": items})


def _judge(asker: Asker) -> Judge:
    """Asks the model about near facts. Without an answer they stay apart: two facts are better than one wrong merge."""

    def judge(asks: Sequence[Ask], known: Sequence[Known]) -> list[Mapping[str, Verdict]]:
        system, user = pair_prompt(asks, known)
        try:
            return list(parse_verdicts(asker.ask(system, user, name="verdicts", schema=PAIR_SCHEMA), asks))
        except AskFailed as error:
            _log.warning("memory.pairs_not_judged", pairs=len(asks), reason=error.kind)
            return [{} for _ in asks]

    return judge
