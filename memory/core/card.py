"""The profile card: what the assistant knows of a caller before a word is said. Pure.

Every fact on it is data. It stands in a line of JSON, on one line, without marks that a model could take for a role, a
heading or a tool; a fact that reads like an instruction is left off.
"""

from __future__ import annotations

import json
import re
from itertools import product
from typing import TYPE_CHECKING

from memory.core import rules, slots
from memory.core.budget import tokens_of
from memory.core.slots import Section
from memory.core.text import clean
from memory.core.values import Card, Kind, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from memory.core.values import Known

#: The most that the card's text may cost.
MAX_TOKENS = 600
_FACT_CHARS = 160
_SUMMARY_CHARS = 480
#: Below this nobody is greeted by a name.
_SURE_OF_NAME = 0.6

#: What is kept where there is more than fits, first to last; the card's order is that of ``Section``.
_KEPT = (
    Section.WARNING,
    Section.IDENTITY,
    Section.COMMITMENT,
    Section.PREFERENCE,
    Section.RELATION,
    Section.FACT,
    Section.PRIVATE,
)
_BY_KIND = {Kind.COMMITMENT: Section.COMMITMENT, Kind.PREFERENCE: Section.PREFERENCE, Kind.RELATION: Section.RELATION}

# Marks of markup, code, templates and chat formats; a word in front of a colon that names a role.
_MARKS = re.compile(r"[`*#<>{}\[\]|\\~^]+|_{2,}|-{3,}|={3,}")
_ROLE = re.compile(r"\b(system|assistant|user|developer|tool|human|ai|instructions?)\s*:", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_]+(?:['’.-]?[^\W\d_]+)*\.?(?: [^\W\d_]+(?:['’.-][^\W\d_]+)*)*")
_TITLES = frozenset({"Mr", "Mrs", "Ms", "Miss", "Dr"})


def build(known: Iterable[Known], *, now: datetime, summary: str = "", last_call_at: datetime | None = None) -> Card:
    """The card of a caller at ``now``, from all his facts, and from what was said in his last call.

    The same facts give the same text, whatever order they come in. At most ``MAX_TOKENS`` long; what must never be done
    comes first and is dropped last, but for what is pinned.
    """
    return _written(known, now, summary, last_call_at)[0]


def told_by(
    known: Iterable[Known], *, now: datetime, summary: str = "", last_call_at: datetime | None = None
) -> frozenset[str]:
    """The ids of the facts that stand on the card of ``build``."""
    return _written(known, now, summary, last_call_at)[1]


def _written(
    known: Iterable[Known], now: datetime, summary: str, last_call_at: datetime | None
) -> tuple[Card, frozenset[str]]:
    current = sorted((fact for fact in known if _tells(fact, now)), key=_rank)
    left = MAX_TOKENS
    told: dict[Section, list[str]] = {}
    ids: set[str] = set()
    last = _last_call(summary, last_call_at)
    for pinned, section in product((True, False), _KEPT):
        for fact in (one for one in current if one.pinned is pinned and section_of(one) is section):
            text = quoted(fact.text, _FACT_CHARS)
            cost = tokens_of(json.dumps(text, ensure_ascii=False)) + (1 if section in told else _head_tokens(section))
            if text and cost <= left:
                told.setdefault(section, []).append(text)
                ids.add(fact.id)
                left -= cost
        if section is Section.COMMITMENT and not pinned and tokens_of(last) + 1 <= left:
            left -= tokens_of(last) + 1
            told[Section.LAST_CALL] = [last]
    lines = [
        told[section][0]
        if section is Section.LAST_CALL
        else json.dumps({section.value: told[section]}, ensure_ascii=False)
        for section in Section
        if section in told
    ]
    text = "\n".join(line for line in lines if line)
    return Card(name=_greeting_name(current), text=text, facts=len(ids)), frozenset(ids)


def without(card: Card, texts: Iterable[str]) -> Card:
    """The card without the notes of these facts, which stand no more; the rest is as it was."""
    gone = {quoted(text, _FACT_CHARS) for text in texts}
    lines, kept = [json.loads(line) for line in card.text.splitlines()], []
    facts = 0
    for notes in lines:
        section, told = next(iter(notes.items()))
        if isinstance(told, list):  # the last call is one text
            notes[section] = [note for note in told if note not in gone]
            facts += len(notes[section])
        if notes[section]:
            kept.append(json.dumps(notes, ensure_ascii=False))
    return Card(card.name, "\n".join(kept), facts)


def quoted(text: str, limit: int) -> str:
    """A fact's words as data: one line, no marks, no roles, at most ``limit`` characters; empty where they instruct."""
    if rules.instructs(text):
        return ""
    said = " ".join(_ROLE.sub(r"\1 -", _MARKS.sub(" ", clean(text))).split())
    return said if len(said) <= limit else said[:limit].rsplit(" ", 1)[0] + " …"


def section_of(fact: Known) -> Section:
    """Where a fact stands on the card."""
    slot = slots.find(fact.slot)
    return slot.section if slot else _BY_KIND.get(fact.kind, Section.FACT)


def _tells(fact: Known, now: datetime) -> bool:
    return (
        fact.status is Status.ACTIVE
        and fact.kind not in (Kind.SUMMARY, Kind.UTTERANCE)
        and (fact.expires_at is None or fact.expires_at > now)
        and (fact.valid_to is None or fact.valid_to > now)
    )


def _rank(fact: Known) -> tuple[int, float, str, str]:
    began = fact.valid_from.isoformat() if fact.valid_from else ""
    return slots.order(fact.slot), -fact.importance, began, fact.id


def _head_tokens(section: Section) -> int:
    return tokens_of(json.dumps({section.value: []}, ensure_ascii=False)) + 1


def _last_call(summary: str, at: datetime | None) -> str:
    text = quoted(summary, _SUMMARY_CHARS)
    if not text:
        return ""
    return json.dumps(
        {Section.LAST_CALL.value: text} | ({"date": at.date().isoformat()} if at else {}), ensure_ascii=False
    )


def _greeting_name(current: Iterable[Known]) -> str:
    """How to address the caller: the first name, or the title with the last one. Empty for what is no name."""
    fact = next((one for one in current if one.slot == "identity.name" and one.confidence >= _SURE_OF_NAME), None)
    name = clean(fact.value)[:60] if fact else ""
    if not _NAME.fullmatch(name) or rules.instructs(name):
        return ""
    first = name.split()[0]
    return name if first.rstrip(".") in _TITLES else first
