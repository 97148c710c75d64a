"""The rule extractor: what one utterance of the caller says that is worth remembering. It always runs.

It reads statements of the caller about himself and his people. Questions, conditions, denials, reports, quotations,
jokes and attempts to instruct are blanked first, so that no rule can match in them. What it finds quotes the utterance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from memory.core import normal, slots
from memory.core.language import Language, Scope
from memory.core.values import Candidate, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memory.core.language import Rule
    from memory.core.values import Said

#: Stands with every candidate. A change of what the rules find needs a new number.
EXTRACTOR = "rules-1"
#: Whoever says more at once is not answering a question; the rest is left to the search.
MAX_CHARS = 4000

#: The module that holds each language's patterns as ``LANGUAGE``. Compiling them takes half a second.
LANGUAGES: Mapping[str, str] = {"en": "memory.core.english"}

_BLANK = "\ufffc"
_SENTENCE_END = re.compile(
    r"(?<!\b[Mm]r)(?<!\b[Mm]s)(?<!\b[Dd]r)(?<!\b[Ss]t)(?<!\b[Mm]rs)(?<!\b\w)[.!?;]+(?=\s|$)|[?!;](?=\s|$)"
)
_EDGES = " ,.!?;:" + _BLANK


@dataclass(frozen=True, slots=True)
class Forget:
    """A caller's request to forget, as he made it.

    ``slots`` are what is meant where it has names; ``topic`` are his own words for it. ``Scope.LAST`` means what was
    said just before, ``Scope.ALL`` everything.
    """

    scope: Scope
    seq: int
    quote: str
    start: int
    end: int
    slots: tuple[str, ...] = ()
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What an utterance holds, in the order of its words."""

    candidates: tuple[Candidate, ...] = ()
    forgets: tuple[Forget, ...] = ()


def load_all() -> None:
    """Compile the patterns now, where the first sentence of a call would otherwise wait for it."""
    for language in LANGUAGES:
        _rules(language)


@cache
def _rules(language: str) -> Language | None:
    """What is read in a language (``en``, ``en-GB``); ``None`` where there are no rules for it."""
    module = LANGUAGES.get(language.split("-")[0].lower())
    return None if module is None else cast("Language", import_module(module).LANGUAGE)


def extract(text: str, *, said_at: datetime, before: str = "", seq: int = 0, language: str = "en") -> Found:
    """Read one utterance of the caller.

    ``before`` is what the agent said just before it; it gives an answer its meaning and is never a source. A language
    without rules gives nothing. ``quote`` of each candidate is ``text[start:end]``.
    """
    rules = _rules(language)
    if rules is None:
        return Found()
    said = text[:MAX_CHARS].replace("’", "'")
    if any(pattern.search(said) for pattern in rules.void):
        return Found()
    own = _blanked(said, rules.blanked)
    taken: list[tuple[int, int]] = []
    alone = _Reading(text, own, rules, seq, said_at, "", frozenset(), [])
    forgets = tuple(_forgets(alone, taken))
    reading = _Reading(text, own, rules, seq, said_at, _asked(before, rules), _echoed(before, rules), taken)
    candidates = [found for start, end in _sentences(own) for found in reading.sentence(start, end)]
    return Found(tuple(sorted(candidates, key=lambda found: (found.start, found.slot, found.end))), forgets)


def extract_all(lines: Sequence[Said], *, language: str = "en") -> Found:
    """Read a conversation: every line of the caller, with what the agent said before it as context."""
    before = ""
    candidates: list[Candidate] = []
    forgets: list[Forget] = []
    for line in lines:
        if line.role != "user":
            before = line.heard_text or line.text
            continue
        found = extract(line.text, said_at=line.said_at, before=before, seq=line.seq, language=language)
        candidates += found.candidates
        forgets += found.forgets
        before = ""
    return Found(tuple(candidates), tuple(forgets))


def instructs(text: str, *, language: str = "en") -> bool:
    """Whether a text tries to tell the agent what it is or how to behave, or voids itself as a joke."""
    rules = _rules(language) or _rules("en")
    return rules is not None and any(pattern.search(text.replace("’", "'")) for pattern in rules.void)


def asks(text: str, start: int, end: int, *, language: str = "en") -> bool:
    """Whether ``text[start:end]`` stands in a question. A language without rules knows none."""
    known = _rules(language)
    if known is None:
        return False
    straight = text.replace("’", "'")
    open_to = "".join(_without_question(straight[at:until], known) for at, until in _sentences(straight))
    return not open_to[start:end].strip(_EDGES)


def sentences(text: str) -> list[tuple[int, int]]:
    """The sentences of a text as spans without the space and punctuation around them; empty ones are left out."""
    spans = (_trimmed(text, start, end) for start, end in _sentences(text))
    return [(start, end) for start, end in spans if start < end]


@dataclass(frozen=True, slots=True)
class _Reading:
    """One utterance while it is read. ``own`` is ``text`` with what is not the caller's statement blanked."""

    text: str
    own: str
    rules: Language
    seq: int
    said_at: datetime
    asked: str
    echoed: frozenset[str]
    taken: list[tuple[int, int]]

    def sentence(self, start: int, end: int) -> Iterator[Candidate]:
        """What one sentence says; an explicit request to remember comes before everything else."""
        request = self.rules.remember.search(self.own, start, end)
        if request is None:
            yield from self._facts(_without_question(self.own[start:end], self.rules), start)
            return
        yield from self._facts(_without_question(self.own[start : request.start()], self.rules), start)
        at, until = request.span("v")
        found = list(self._facts(self.own[at:until], at))
        if found:
            yield from (replace(one, importance=max(one.importance, 0.9)) for one in found)
        elif len(self.own[at:until].split()) >= 3 and not self.rules.question.match(self.own, at, until):
            at, until = _trimmed(self.text, at, until)
            quote = self.text[at:until]
            yield Candidate(Kind.FACT, quote, self.seq, quote, importance=0.8, extractor=EXTRACTOR, start=at, end=until)

    def _facts(self, sentence: str, offset: int) -> Iterator[Candidate]:
        hedge = self.rules.hedge.search(sentence)
        for rule in self.rules.rules:
            if not self._applies(rule):
                continue
            for match in rule.pattern.finditer(sentence):
                start, end = _trimmed(self.text, offset + match.start(), offset + match.end())
                found = list(self._candidates(rule, match, start, end))
                if not found or not self._reads_first(rule, match, offset):
                    continue
                unsure = hedge is not None and hedge.start() <= match.start()
                yield from (replace(one, firm=min(one.firm, 0.6)) if unsure else one for one in found)

    def _reads_first(self, rule: Rule, match: re.Match[str], offset: int) -> bool:
        if "v" in match.groupdict():
            start, end = match.span("v")
        elif rule.value:
            start, end = match.span()
        else:
            # It takes back whatever there is and names nothing: another rule may say what.
            return True
        return _take(self.taken, offset + start, offset + end)

    def _applies(self, rule: Rule) -> bool:
        if not (rule.asked or rule.corrects):
            return True
        return (rule.asked and rule.slot == self.asked) or (rule.corrects and rule.slot in self.echoed)

    def _candidates(self, rule: Rule, match: re.Match[str], start: int, end: int) -> Iterator[Candidate]:
        named = match.groupdict()
        words = {key: named[key].lower() for key in ("who", "what") if named.get(key)}
        name = rule.slot.format(**{key: self.rules.canonical.get(word, word) for key, word in words.items()})
        slot = slots.find(name)
        said = named.get("v") or rule.value
        for one in (
            normal.things(said)
            if slot is not None and slot.many and not slot.dated and slot.normalise is normal.thing
            else (said,)
        ):
            value, text = slots.reads(name, one)
            if slot is None or not (value or rule.retracts):
                continue
            due = _due(one, self.said_at) if slot.dated else ""
            yield Candidate(
                slot.kind,
                f"{text} ({due})" if due else text or f"No longer: {name}",
                self.seq,
                self.text[start:end],
                slot=name,
                value=f"{due} {value}" if due else value,
                importance=slot.importance,
                firm=rule.firm,
                extractor=EXTRACTOR,
                valid_to=_day_after(due, self.said_at) if due else None,
                retracts=rule.retracts,
                start=start,
                end=end,
            )


def _blanked(text: str, patterns: Iterable[re.Pattern[str]]) -> str:
    """``text`` with every match inside one sentence blanked; as long as it was."""
    out = []
    for start, end in _sentences(text):
        sentence = text[start:end]
        for pattern in patterns:
            sentence = pattern.sub(lambda found: _BLANK * len(found[0]), sentence)
        out.append(sentence)
    return "".join(out)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Spans of sentences, gapless."""
    start = 0
    for match in _SENTENCE_END.finditer(text):
        yield start, match.end()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def _without_question(sentence: str, rules: Language) -> str:
    """A sentence with the question in it blanked."""
    opening = rules.question.match(sentence)
    if sentence.rstrip().endswith("?"):
        inside = None if opening else rules.inverted.search(sentence)
        start, end = inside.start() if inside else 0, len(sentence)
    elif opening:
        resumes = rules.resumes.search(sentence, opening.end())
        start, end = 0, resumes.start() if resumes else len(sentence)
    else:
        return sentence
    return sentence[:start] + _BLANK * (end - start) + sentence[end:]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in _EDGES:
        start += 1
    while start < end and text[end - 1] in _EDGES:
        end -= 1
    return start, end


def _take(taken: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether no rule has read these words yet; from now on one has."""
    free = not any(start < until and at < end for at, until in taken)
    if free:
        taken.append((start, end))
    return free


def _asked(before: str, rules: Language) -> str:
    """The slot that the agent's last sentence asked for; a sentence that ends in a full stop asks nothing."""
    sentences = list(_sentences(before.strip()))
    last = before.strip()[sentences[-1][0] :] if sentences else ""
    if last.endswith((".", "!")):
        return ""
    places = [(match.end(), slot) for slot, pattern in rules.asked.items() if (match := pattern.search(last))]
    return max(places)[1] if places else ""


def _echoed(before: str, rules: Language) -> frozenset[str]:
    return frozenset(slot for slot, pattern in rules.echoed.items() if pattern.search(before))


def _due(said: str, said_at: datetime) -> str:
    found = re.search(normal.DAY, said, re.IGNORECASE)
    return normal.day(found[0], said_at) if found else ""


def _day_after(due: str, said_at: datetime) -> datetime:
    return datetime.combine(datetime.fromisoformat(due) + timedelta(days=1), time(), said_at.tzinfo)


def _forgets(reading: _Reading, taken: list[tuple[int, int]]) -> Iterator[Forget]:
    """What the caller asks to be forgotten. ``reading`` tells the slots of a fact that is named by saying it."""
    for rule in reading.rules.forgets:
        for match in rule.pattern.finditer(reading.own):
            start, end = _trimmed(reading.text, *match.span())
            if not _take(taken, start, end):
                continue
            topic = (match.groupdict().get("v") or "").strip()
            named = [slot for slot, names in reading.rules.called.items() if normal.plain(topic) in names.split("|")]
            named += [fact.slot for fact in reading._facts(topic, match.end() - len(topic))]
            scope = rule.scope if named or rule.scope is not Scope.SLOT else Scope.TOPIC
            if scope is not Scope.NOTHING:
                yield Forget(
                    scope, reading.seq, reading.text[start:end], start, end, tuple(dict.fromkeys(named)), topic
                )
