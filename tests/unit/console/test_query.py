"""The query language: what each piece reads as, what is said about mistakes, and that no text breaks it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent.console.calls.language import FIELDS, MOST_CHARS, Kind, Op, Span, milliseconds, span
from voiceagent.console.calls.parsing import (
    Part,
    Query,
    Term,
    has_value,
    parse,
    part_text,
    term_text,
    to_text,
    toggled,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVERYTHING = 'outcome:error response:>1500 bargein:>2 lang:en -test:yes has:operator "cancel my order"'


def test_the_brief_s_example_reads_as_it_is_meant() -> None:
    query = parse(EVERYTHING)

    assert query.problems == ()
    assert query.terms == (
        Term("outcome", (Part("error"),)),
        Term("response", (Part("1500", Op.MORE),)),
        Term("bargein", (Part("2", Op.MORE),)),
        Term("lang", (Part("en"),)),
        Term("test", (Part("yes"),), negated=True),
        Term("has", (Part("operator"),)),
        Term("", (Part("cancel my order"),), quoted=True),
    )
    assert to_text(query) == EVERYTHING


@pytest.mark.parametrize("row", FIELDS.values(), ids=FIELDS)
def test_the_example_of_every_field_is_right_and_comes_back(row: object) -> None:
    example = row.example  # type: ignore[attr-defined]
    query = parse(example)
    assert query.problems == ()
    assert to_text(query) == example


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("response:500..1500", (Part("500", Op.RANGE, "1500"),)),
        ("response:..1500", (Part("", Op.RANGE, "1500"),)),
        ("response:1.5s..", (Part("1.5s", Op.RANGE, ""),)),
        ("response:<=1000,>3s", (Part("1000", Op.LESS_OR_SAME), Part("3s", Op.MORE))),
        ("outcome:Error,missed", (Part("error"), Part("missed"))),
        ('agent:"Bella Vista","a \\"b\\" \\\\c"', (Part("Bella Vista"), Part('a "b" \\c'))),
        ("error:model:timeout", (Part("model:timeout"),)),
        ("date:2026-11-01..2026-11-30", (Part("2026-11-01", Op.RANGE, "2026-11-30"),)),
        ("date:2026-11-01t08:30", (Part("2026-11-01T08:30"),)),
        ("date:Yesterday", (Part("yesterday"),)),
        ("caller:+1234", (Part("1234"),)),
        ("id:ca12AB", (Part("CA12AB"),)),
    ],
)
def test_values(text: str, parts: tuple[Part, ...]) -> None:
    query = parse(text)
    assert query.problems == ()
    assert query.terms[0].parts == parts
    assert parse(to_text(query)) == query


@pytest.mark.parametrize(
    ("text", "word", "why", "allowed", "meant"),
    [
        ("respons:>1500", "respons:>1500", "No field is called respons.", "outcome", "response:"),
        ("outcome:eror", "outcome:eror", "outcome has no value 'eror'.", "missed", "error"),
        ("has:sound", "has:sound", "has has no value 'sound'.", "recording", ""),
        ("lang:>en", "lang:>en", "lang is not compared with >: write lang:en.", "", ""),
        ("outcome:>error", "outcome:>error", "outcome is not compared with >", "error", ""),
        ("turns:many", "turns:many", "turns takes whole numbers, such as 2, not 'many'.", "", ""),
        ("response:>fast", "response:>fast", "response takes a time, such as 1500, 1500ms or 1.5s", "", ""),
        ("response:..", "response:..", "The range of response has no ends", "", ""),
        ("response:>1..2", "response:>1..2", "either compared with > or a range", "", ""),
        ("response:", "response:", "response has no value: write response:>1500.", "", ""),
        ("outcome:error,,missed", "outcome:error,,missed", "outcome has no value: write", "error", ""),
        ("date:tomorrow", "date:tomorrow", "date takes today, yesterday, 7d", "", ""),
        ("date:2026-02-30", "date:2026-02-30", "date takes today", "", ""),
        ("caller:12x", "caller:12x", "caller takes the last digits of a number", "", ""),
        ("id:12", "id:12", "id takes the beginning of a call id", "", ""),
        ('agent:"Bella', 'agent:"Bella', "The quotation mark is not closed", "", ""),
        ('agent:"a"b', 'agent:"a"b', "put a comma between two values", "", ""),
        ('"cancel my', '"cancel my', "The quotation mark is not closed", "", ""),
        ("--", "--", "There is no word in it to look for.", "", ""),
        ("-", "-", "There is no word in it to look for.", "", ""),
    ],
)
def test_a_mistake_names_the_word_and_what_is_allowed(text: str, word: str, why: str, allowed: str, meant: str) -> None:
    query = parse(f"lang:en {text}")

    (problem,) = query.problems
    assert query.terms == (Term("lang", (Part("en"),)),)
    assert (problem.word, problem.start, problem.meant) == (word, 8, meant)
    assert why in problem.why
    assert allowed in problem.allowed or not allowed


def test_what_only_some_may_ask_is_refused_to_others() -> None:
    asked = 'caller:1234 "41 11 11" "me@example.com" lobster line:0006'

    assert len(parse(asked, may={"reveal_number", "see_unredacted"}).problems) == 0
    refused = parse(asked, may={"view_console"})
    assert [problem.word for problem in refused.problems] == ["caller:1234", '"41 11 11"', '"me@example.com"']
    assert "console.reveal_number" in refused.problems[0].why
    assert to_text(refused) == "lobster line:0006"


def test_more_than_anybody_types_is_cut_and_told() -> None:
    assert "longer than 2,000 characters" in parse("a" * (MOST_CHARS + 1)).problems[0].why
    many = parse(" ".join(f"turns:{number}" for number in range(60)))
    assert "more than 40 terms" in many.problems[-1].why
    assert "more than 20 values" in parse("turns:" + ",".join(map(str, range(30)))).problems[0].why


def test_a_click_on_a_facet_edits_the_query() -> None:
    query = parse("lang:en lobster")
    query = toggled(query, "outcome", "error")
    assert to_text(query) == "lang:en lobster outcome:error"
    query = toggled(query, "outcome", "missed")
    assert to_text(query) == "lang:en lobster outcome:error,missed"
    assert has_value(query, "outcome", "missed")
    query = toggled(toggled(query, "outcome", "error"), "outcome", "missed")
    assert to_text(query) == "lang:en lobster"
    query = toggled(query, "response", "1000..1500")
    assert to_text(query) == "lang:en lobster response:1000..1500"
    assert has_value(query, "response", "1000..1500")
    query = toggled(parse("has:operator"), "operator", "no")
    assert to_text(query) == "operator:no"
    assert to_text(toggled(query, "operator", "no")) == ""
    assert has_value(parse("-has:operator"), "operator", "no")
    assert to_text(toggled(parse("date:7d"), "date", "today")) == "date:today"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", NOON.replace(hour=0), NOON.replace(day=24, hour=0)),
        ("yesterday", NOON.replace(day=22, hour=0), NOON.replace(hour=0)),
        ("7d", NOON - timedelta(days=7), NOON),
        ("90m", NOON - timedelta(minutes=90), NOON),
        ("2026", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-11-30", datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-11-30T14:05", datetime(2026, 11, 30, 14, 5, tzinfo=UTC), datetime(2026, 11, 30, 14, 6, tzinfo=UTC)),
    ],
)
def test_words_for_times(text: str, start: datetime, end: datetime) -> None:
    assert span(text, NOON) == Span(start, end)


def test_times_without_and_with_units() -> None:
    assert [milliseconds(text, "ms") for text in ("1500", "1500ms", "1.5s", "2m", "1:02:03")] == [
        1500, 1500, 1500, 120_000, 3_723_000,
    ]  # fmt: skip
    assert milliseconds("90", "s") == 90_000


# --- any text ---------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [*(f"{name}:" for name in FIELDS), "-", '"', "\\", ",", "..", ">", "<=", " ", "\x00", "yes", "error", "7d", "1500",
     "2026-11-30", "1.5s", "+12", "CA1", "voilà", "\u202e", "<script>", "\ud800", "9999-12-31", "99999w"]
)  # fmt: skip
_QUERIES = st.one_of(st.text(max_size=60), st.lists(st.one_of(_PIECES, st.text(max_size=3)), max_size=14).map("".join))


@given(_QUERIES)
def test_any_text_is_a_query_or_says_why_not_and_comes_back_the_same(text: str) -> None:
    query = parse(text)

    assert query.terms or query.problems or not text.strip()
    for problem in query.problems:
        assert problem.why
        assert text[problem.start :].startswith(problem.word)
    again = parse(to_text(query))
    assert again == Query(query.terms)
    assert to_text(again) == to_text(query)
    assert parse(text, may=()).terms == tuple(t for t in query.terms if t in parse(text, may=()).terms)


@given(_QUERIES, st.sampled_from([row for row in FIELDS.values() if row.name != "has"]))
def test_toggling_twice_asks_no_more_than_before(text: str, row: object) -> None:
    query = parse(text)
    name, value = row.name, row.example.partition(":")[2]  # type: ignore[attr-defined]
    value = "yes" if row.kind is Kind.YES_NO else value  # type: ignore[attr-defined]
    if "," in value or query.asks(name):
        return
    once = toggled(query, name, value)
    assert has_value(once, name, value)
    assert toggled(once, name, value) == Query(query.terms)


@given(st.text(max_size=30))
def test_any_words_can_be_asked_for_in_quotes(said: str) -> None:
    term = Term("", (Part(" ".join(said.replace("\x00", " ").split())),), quoted=True)
    query = parse(term_text(term))
    assert query.terms == ((term,) if query.terms else ())
    assert bool(query.terms) != bool(query.problems)


@given(st.sampled_from(sorted(Kind)), st.text(max_size=20))
def test_any_value_of_any_kind_is_read_or_refused(kind: Kind, value: str) -> None:
    name = next(row.name for row in FIELDS.values() if row.kind is kind)
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    query = parse(f"{name}:{quoted}")
    assert len(query.terms) + len(query.problems) == 1
    for term in query.terms:
        assert parse(f"{name}:{part_text(term.parts[0])}").terms == (term,)
