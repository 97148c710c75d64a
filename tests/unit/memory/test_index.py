"""The exact index of one caller: what is found, what is never offered, what changes during a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memory.core.index import CallerIndex, Ranking
from memory.core.values import Kind, Origin, Row, Status

NOW = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)


def row(row_id: str, text: str, **more: object) -> Row:
    return Row(**{"id": row_id, "kind": Kind.UTTERANCE, "text": text, "said_at": NOW - timedelta(days=3), **more})  # type: ignore[arg-type]


def vector(*values: float) -> bytes:
    array = np.array(values, dtype=np.float32)
    return (array / np.linalg.norm(array)).tobytes()


def asked(*values: float) -> np.ndarray:
    return np.frombuffer(vector(*values), dtype=np.float32)


def ids(index: CallerIndex, question: str, query: np.ndarray | None = None, limit: int = 20) -> list[str]:
    return [hit.row.id for hit in index.search(question, query, NOW, limit)]


def test_words_alone_find_where_the_embedding_is_late():
    index = CallerIndex([row("a", "My dog is called Rex."), row("b", "I live in Leeds."), row("c", "The sky is blue.")])
    assert ids(index, "What is the name of the dogs?")[0] == "a"
    assert ids(index, "Did he live there?")[0] == "b"


def test_meaning_finds_what_shares_no_word():
    index = CallerIndex(
        [
            row("hives", "Penicillin makes me break out in hives.", vector=vector(1, 0.2, 0)),
            row("leeds", "I live in Leeds.", vector=vector(0, 1, 0)),
        ]
    )
    assert ids(index, "Which antibiotics must be avoided?", asked(1, 0, 0)) == ["hives", "leeds"]


def test_words_and_meaning_add_up_within_their_bounds():
    index = CallerIndex(
        [row("a", "blue car", vector=vector(1, 0), importance=0.0)], Ranking(word_weight=0.8, silence_loss=0)
    )
    (hit,) = index.search("blue car", asked(1, 0), NOW)
    (other,) = index.search("blue whale", asked(0, 1), NOW)
    assert 1.0 < hit.score <= (1.0 + 0.8) * 1.03
    assert 0.0 < other.score < 0.8
    assert hit.why_not == ""
    assert not hit.in_prompt


def test_a_word_nobody_said_lowers_the_share():
    index = CallerIndex([row("a", "a blue car"), row("b", "a red bicycle")])
    (whole, *_), (half, *_) = index.search("blue car", None, NOW), index.search("blue submarine", None, NOW)
    assert whole.row.id == half.row.id == "a"
    assert half.score < whole.score * 0.7


def test_cosines_count_from_what_unrelated_texts_have():
    index = CallerIndex(
        [row("a", "x", vector=vector(1, 0), importance=0)], Ranking(unrelated_cosine=0.8, silence_loss=0)
    )
    (low,) = index.search("y", asked(0.7, 0.8), NOW)
    (high,) = index.search("y", asked(1, 0), NOW)
    assert low.score < 0.05
    assert high.score > 1.0


def test_what_was_said_just_before_counts_for_less_than_what_was_said():
    index = CallerIndex(
        [
            row("answer", "Only before ten.", before="When may we call you about the boiler?"),
            row("own", "The boiler is broken."),
            row("none", "Nothing else, thanks."),
        ]
    )
    assert ids(index, "boiler") == ["own", "answer", "none"]


def test_recency_breaks_ties_and_importance_outweighs_nothing_else():
    index = CallerIndex(
        [
            row("old", "I like tea", said_at=NOW - timedelta(days=400)),
            row("new", "I like tea", said_at=NOW - timedelta(days=1)),
            row("vital", "I like tea", said_at=NOW - timedelta(days=400), importance=1.0),
        ]
    )
    assert ids(index, "tea") == ["vital", "new", "old"]
    same = CallerIndex([row("a", "tea"), row("b", "tea", said_at=NOW)], Ranking(recency_bonus=0))
    assert ids(same, "tea") == ["b", "a"]


def test_only_what_is_active_is_offered():
    states = [row(state, "my number is 5", kind=Kind.FACT, status=Status(state)) for state in Status]
    assert ids(CallerIndex(states), "number") == ["active"]


def test_an_utterance_that_was_corrected_comes_lower_and_says_so():
    origin = Origin(conversation="one", seq=4)
    said = row("said", "My number is 555 01.", origin=origin)
    fact = row("fact", "number 555 01", kind=Kind.IDENTITY, origin=origin)
    index = CallerIndex([said, fact, row("other", "My number of cats is two.", origin=Origin("one", 7))])
    assert {hit.why_not for hit in index.search("What is my number?", None, NOW)} == {""}

    index.put(row("fact", "number 555 01", kind=Kind.IDENTITY, origin=origin, status=Status.SUPERSEDED))
    assert [(hit.row.id, hit.why_not) for hit in index.search("What is my number?", None, NOW)] == [
        ("other", ""),
        ("said", "superseded"),
    ]
    assert ids(index, "What was my old number before it changed?")[0] == "said"
    index.discard("fact")
    assert {hit.why_not for hit in index.search("What is my number?", None, NOW)} == {""}


def test_a_superseded_fact_of_an_utterance_that_is_not_here_changes_nothing():
    gone = row("fact", "x", kind=Kind.FACT, status=Status.SUPERSEDED, origin=Origin("one", 1))
    free = row("free", "x", kind=Kind.FACT, status=Status.SUPERSEDED)
    index = CallerIndex([gone, free, row("a", "x y z")])
    assert [hit.why_not for hit in index.search("xy z", None, NOW)] == [""]


def test_rows_come_change_and_go_during_a_call():
    index = CallerIndex([row("a", "My dog is called Rex.")])
    index.put(row("b", "Remember that I moved to York."))
    assert ids(index, "York") == ["b", "a"]
    index.put(row("b", "Remember that I moved to Hull."))
    assert len(index) == 2
    assert index.search("York", None, NOW)[0].score < index.search("Hull", None, NOW)[0].score
    index.discard("b")
    index.discard("b")
    assert "b" not in index
    assert "a" in index
    assert ids(index, "Hull") == ["a"]
    index.discard("a")
    assert ids(index, "Hull") == []


def test_what_is_left_after_many_removals_is_found_as_in_a_new_index():
    rows = [
        row(str(n), f"the {n} bottles of {n % 7} kinds", vector=vector(n + 1, 1), before=f"{n}?") for n in range(900)
    ]
    index = CallerIndex(rows)
    for n in range(850):
        index.discard(str(n))
    new = CallerIndex(rows[850:])
    query = asked(1, 1)
    for question in ("876 bottles", "3 kinds", "nothing"):
        assert [(hit.row.id, pytest.approx(hit.score, abs=1e-5)) for hit in index.search(question, query, NOW)] == [
            (hit.row.id, hit.score) for hit in new.search(question, query, NOW)
        ]


def test_vectors_may_come_later_and_are_of_one_dimension():
    index = CallerIndex([row("a", "one"), row("b", "two")])
    assert ids(index, "three", asked(1, 0)) != []
    index.put(row("b", "two", vector=vector(1, 0)))
    assert ids(index, "three", asked(1, 0))[0] == "b"
    with pytest.raises(ValueError, match="dimension 3, the others have 2"):
        index.put(row("c", "three", vector=vector(1, 0, 0)))
    with pytest.raises(ValueError, match="dimension 3"):
        index.search("three", asked(1, 0, 0), NOW)


def test_the_limit_is_kept_and_nothing_is_asked_of_nothing():
    index = CallerIndex([row(str(n), f"bottle {n}") for n in range(100)])
    assert len(index.search("bottle", None, NOW, 7)) == 7
    assert len(index.search("bottle", None, NOW, 1000)) == 100
    assert index.search("bottle", None, NOW, 0) == []
    assert len(index.search("", None, NOW, 3)) == 3
    assert CallerIndex().search("bottle", None, NOW) == []
    assert ids(CallerIndex([row("a", "the")]), "of") == ["a"]


def test_what_says_again_what_was_corrected_since_is_corrected_too() -> None:
    bruno = Row("1", Kind.RELATION, "The caller's dog is called Bruno", NOW, slot="relation.dog.name", status=Status.SUPERSEDED,
                origin=Origin("CA1", 3, quote="my dog is called Bruno"))  # fmt: skip
    rex = Row("2", Kind.RELATION, "The caller's dog is called Rex", NOW, slot="relation.dog.name",
              origin=Origin("CA2", 1, quote="my dog is called Rex"))  # fmt: skip
    lines = {
        "said": Row("3", Kind.UTTERANCE, "My dog is called Bruno.", NOW, origin=Origin("CA1", 3)),
        "answered": Row(
            "4", Kind.UTTERANCE, "Your dog is called Bruno.", NOW, role="assistant", origin=Origin("CA1", 5)
        ),
        "summed up": Row("5", Kind.SUMMARY, "The caller said: “my dog is called Bruno”", NOW, origin=Origin("CA1", 3)),
        "corrected": Row("6", Kind.UTTERANCE, "My dog is called Rex, not Bruno.", NOW, origin=Origin("CA2", 1)),
        "other": Row("7", Kind.UTTERANCE, "Bruno is my neighbour.", NOW, origin=Origin("CA1", 7)),
    }
    index = CallerIndex([bruno, rex, *lines.values()])

    def stale(asked: str) -> set[str]:
        found = {hit.row.id for hit in index.search(asked, None, NOW) if hit.why_not == "superseded"}
        return {name for name, row in lines.items() if row.id in found}

    assert stale("What is my dog called?") == {"said", "answered", "summed up"}
    assert stale("What was my dog called originally?") == set()


def test_a_superseded_fact_of_one_word_makes_nothing_else_stale() -> None:
    tea = Row("1", Kind.PREFERENCE, "Tea", NOW, status=Status.SUPERSEDED)
    index = CallerIndex([tea, Row("2", Kind.UTTERANCE, "Tea is hot.", NOW), Row("3", Kind.UTTERANCE, "Nothing.", NOW)])

    assert [hit.why_not for hit in index.search("tea", None, NOW)] == ["", ""]
