"""Text to query and back. Pure: any text gives a query, and what it could not make sense of as problems.

``to_text`` writes what ``parse`` reads: parsed again it is the same query. A term that is wrong is left out of the query,
and its problem names the word and what would have been allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from voiceagent.console.calls.language import FIELDS, MOST_CHARS, MOST_TERMS, MOST_VALUES, READERS, Field, Kind, Op
from voiceagent.console.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True, slots=True)
class Part:
    """One value of a term: ``low`` alone, compared by ``op``, or a range, open where ``low`` or ``high`` is empty."""

    low: str
    op: Op = Op.IS
    high: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """A condition: any of ``parts``. Without ``field`` the only part is words, in this order if they are ``quoted``."""

    field: str
    parts: tuple[Part, ...]
    negated: bool = False
    quoted: bool = False

    @property
    def is_words(self) -> bool:
        """Whether it asks for words that were said."""
        return not self.field


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a word of the query. ``start`` is its place; ``allowed``: what could stand there instead."""

    word: str
    start: int
    why: str
    allowed: tuple[str, ...] = ()
    meant: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: all of ``terms``; and what was not understood."""

    terms: tuple[Term, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def words(self) -> tuple[Term, ...]:
        """The terms that ask for words to be there."""
        return tuple(term for term in self.terms if term.is_words and not term.negated)

    def without(self, term: Term) -> Query:
        """The same, less one term."""
        return Query(tuple(kept for kept in self.terms if kept is not term and kept != term))

    def without_field(self, name: str) -> Query:
        """The same, less what is asked of one field."""
        return Query(tuple(term for term in self.terms if not concerns(term, name)))

    def asks(self, name: str) -> bool:
        """Whether a term is about this field."""
        return any(concerns(term, name) for term in self.terms)


class _Wrong(ValueError):
    """A term that makes no sense."""

    def __init__(self, why: str, allowed: Collection[str] = (), meant: str = "") -> None:
        super().__init__(why)
        self.why, self.allowed, self.meant = why, tuple(allowed), meant


def concerns(term: Term, name: str) -> bool:
    """Whether a term is about this field, ``has:`` included."""
    return term.field == name or (term.field == "has" and name in {part.low for part in term.parts})


# --- reading ----------------------------------------------------------------------------------------------------------

_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"([A-Za-z][A-Za-z_]*):")
_BARE = re.compile(r'[^\s"]+')
_BARE_VALUE = re.compile(r'[^\s",]*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)("?)', re.DOTALL)
_COMPARED = re.compile(r">=|<=|>|<")
_LETTERS = re.compile(r"\w")
_DIGITS_OF_MANY = re.compile(r"(?:\d[\s().+-]*){3}")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse(text: str, may: Collection[str] | None = None) -> Query:
    """The query that ``text`` is. ``may``: the permissions of who asks; ``None`` allows everything. Never raises."""
    problems: list[Problem] = []
    if len(text) > MOST_CHARS:
        problems.append(
            Problem("…", MOST_CHARS, f"The query is longer than {MOST_CHARS:,} characters; the rest is left out.")
        )
        text = text[:MOST_CHARS]
    terms: list[Term] = []
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        start, at = at, _term_end(text, at)
        word = text[start:at]
        if len(terms) == MOST_TERMS:
            problems.append(Problem(word, start, f"The query has more than {MOST_TERMS} terms; the rest is left out."))
            break
        try:
            term = _term(word)
            _check(term, may)
        except _Wrong as wrong:
            problems.append(Problem(word, start, wrong.why, wrong.allowed, wrong.meant))
        else:
            if term not in terms:
                terms.append(term)
    return Query(tuple(terms), tuple(problems))


def _term_end(text: str, at: int) -> int:
    """Where the term that begins at ``at`` ends: values with commas between, quoted or bare; or words."""
    at += text[at] == "-"
    if found := _FIELD.match(text, at):
        at = found.end()
        while at < len(text) and not text[at].isspace():
            quoted = _QUOTED.match(text, at)
            at = quoted.end() if quoted else at + 1
        return at
    quoted = _QUOTED.match(text, at)
    bare = _BARE.match(text, at)
    return quoted.end() if quoted else bare.end() if bare else at


def _term(word: str) -> Term:
    negated = word.startswith("-")
    rest = word[negated:]
    if found := _FIELD.match(rest):
        return _asked(found[1].lower(), rest[found.end() :], negated=negated)
    quoted = _QUOTED.match(rest)
    if quoted and not quoted[2]:
        raise _Wrong('The quotation mark is not closed: write "…" around the words.')
    said = _plain(quoted[1]) if quoted else rest
    said = " ".join(said.replace("\x00", " ").split())
    if not _LETTERS.search(said):
        raise _Wrong("There is no word in it to look for.")
    return Term("", (Part(said),), negated, quoted=quoted is not None or not _SAFE_WORD.fullmatch(said))


def _asked(name: str, values: str, *, negated: bool) -> Term:
    row = FIELDS.get(name)
    if row is None:
        near = get_close_matches(name, FIELDS, 1)
        raise _Wrong(f"No field is called {name}.", tuple(FIELDS), f"{near[0]}:" if near else "")
    parts = list(_parts(row, values))
    if len(parts) > MOST_VALUES:
        raise _Wrong(f"{name} is asked for more than {MOST_VALUES} values.")
    return Term(name, tuple(dict.fromkeys(parts)), negated)


def _parts(row: Field, values: str) -> Iterator[Part]:
    at = 0
    while True:
        op = Op.IS
        if found := _COMPARED.match(values, at):
            op, at = Op(found[0]), found.end()
        low, was_quoted, at = _value(values, at)
        bounds = [low]
        if not was_quoted and row.is_ordered:
            bounds = low.split("..", 1)
        yield _part(row, op, bounds)
        if at == len(values):
            return
        if values[at] != ",":
            raise _Wrong(f"{row.name} is followed by something after its value; put a comma between two values.")
        at += 1


def _value(values: str, at: int) -> tuple[str, bool, int]:
    """The value at a place, whether it was quoted, and where it ends."""
    if quoted := _QUOTED.match(values, at):
        if not quoted[2]:
            raise _Wrong('The quotation mark is not closed: write "…" around the value.')
        return _plain(quoted[1]), True, quoted.end()
    bare = _BARE_VALUE.match(values, at)
    return (bare[0], False, bare.end()) if bare else ("", False, at)


def _part(row: Field, op: Op, bounds: list[str]) -> Part:
    if op is not Op.IS and not row.is_ordered:
        raise _Wrong(f"{row.name} is not compared with {op}: write {row.example}.", tuple(row.choices))
    if len(bounds) == 1:
        return Part(_read(row, bounds[0]), op)
    if op is not Op.IS:
        raise _Wrong(f"{row.name} is either compared with {op} or a range, not both.")
    if not any(bounds):
        raise _Wrong(f"The range of {row.name} has no ends: write {row.name}:1..2, as {row.example} is written.")
    low, high = (bound and _read(row, bound) for bound in bounds)
    return Part(low, Op.RANGE, high)


def _read(row: Field, text: str) -> str:
    if not text:
        raise _Wrong(f"{row.name} has no value: write {row.example}.", tuple(row.choices))
    if "\x00" in text:
        raise _Wrong(f"{row.name} takes no NUL characters.")
    try:
        return READERS[row.kind](text, row)
    except ValueError as error:
        if row.choices:
            near = get_close_matches(text.lower(), row.choices, 1)
            raise _Wrong(f"{row.name} has no value {text!r}.", tuple(row.choices), near[0] if near else "") from None
        raise _Wrong(f"{row.name} {error}, not {text!r}.") from None


def _check(term: Term, may: Collection[str] | None) -> None:
    """What only some may ask: a search answers with what it finds, whether it is shown or not."""
    if may is None:
        return
    if term.is_words:
        if "see_unredacted" not in may and _may_be_hidden(term.parts[0].low):
            raise _Wrong("Numbers and addresses that were said are found by who may see unredacted text alone.")
        return
    if (needs := FIELDS[term.field].needs) and needs not in may:
        raise _Wrong(f"{term.field} is for who may reveal numbers (console.{needs}).")


def _may_be_hidden(said: str) -> bool:
    """Whether viewers may not read it, or it may be a piece of what they may not read."""
    return bool(_DIGITS_OF_MANY.search(said)) or "@" in said or any(span.kind for span in redacted(said))


def _plain(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)


# --- writing ----------------------------------------------------------------------------------------------------------

_SAFE_WORD = re.compile(r'[^\s"\-:][^\s":]*')
_SAFE_VALUE = re.compile(r'[^\s",<>\\]+')


def to_text(query: Query) -> str:
    """The query as it is typed."""
    return " ".join(term_text(term) for term in query.terms)


def term_text(term: Term) -> str:
    """One term as it is typed."""
    minus = "-" if term.negated else ""
    if term.is_words:
        said = term.parts[0].low
        return minus + (said if not term.quoted and _SAFE_WORD.fullmatch(said) else _quoted(said))
    return f"{minus}{term.field}:" + ",".join(part_text(part) for part in term.parts)


def part_text(part: Part) -> str:
    """One value as it is typed."""
    if part.op is Op.RANGE:
        return f"{part.low}..{part.high}"
    return part.op + (part.low if _SAFE_VALUE.fullmatch(part.low) else _quoted(part.low))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- changing ---------------------------------------------------------------------------------------------------------


def toggled(query: Query, name: str, value: str) -> Query:
    """The query with a value of a field asked for as well, or no longer: what a click on a facet does.

    ``value`` is as it is typed. For yes and no, the two exclude each other.
    """
    parts = _term(f"{name}:{value}").parts
    if FIELDS[name].kind in (Kind.YES_NO, Kind.MOMENT):
        wanted = Term(name, parts)
        kept = query.without_field(name)
        return kept if has_value(query, name, value) else replace(kept, terms=(*kept.terms, wanted))
    terms = list(query.terms)
    for place, term in enumerate(terms):
        if term.field == name and not term.negated:
            left = tuple(part for part in term.parts if part not in parts)
            added = left if len(left) < len(term.parts) else (*term.parts, *parts)
            terms[place : place + 1] = [replace(term, parts=added)] if added else []
            return Query(tuple(terms))
    return Query((*query.terms, Term(name, parts)))


def has_value(query: Query, name: str, value: str) -> bool:
    """Whether the query asks for this value of a field, ``has:`` included."""
    parts = _term(f"{name}:{value}").parts
    if any(term.field == name and not term.negated and set(parts) <= set(term.parts) for term in query.terms):
        return True
    if FIELDS[name].kind is not Kind.YES_NO:
        return False
    return any(
        term.field == "has" and [part.low for part in term.parts] == [name] and term.negated == (value == "no")
        for term in query.terms
    )
