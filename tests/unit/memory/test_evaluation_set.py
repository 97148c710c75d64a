"""The evaluation set is whole: as large as promised, every question with its answer, a part of each held out."""

from __future__ import annotations

from collections import Counter

from bench.memory import merging, sets


def test_the_set_is_as_large_as_promised() -> None:
    callers, conversations = sets.callers(), sets.long_conversations()
    assert len(callers) >= 12
    assert len({(memory.name, row.said_at.date()) for memory in callers for row in memory.rows}) >= 40
    sorts = Counter(question.sort for memory in callers for question in memory.questions)
    assert sorts.total() >= 200
    assert min(sorts[sort] for sort in "fpchn") >= 15
    assert len(conversations) >= 3
    assert min(len(memory.rows) for memory in conversations) > 100
    asked = [sets.paraphrases(held_out=held_out) for held_out in (False, True)]
    assert sum(len(memory.questions) for memory in asked) == 90
    assert len(asked[0].rows) == 90 + sets.UNRELATED_TURNS


def test_every_answer_is_there_and_a_part_is_held_out() -> None:
    for memories in (sets.callers(), sets.long_conversations()):
        assert {memory.held_out for memory in memories} == {True, False}
        for memory in memories:
            ids = {row.id for row in memory.rows}
            for question in memory.questions:
                assert bool(question.answer) == (question.sort != "n")
                assert {question.answer, question.stale} - {""} <= ids


def test_telling_it_to_the_merge_twice_changes_nothing_and_leaves_one_value() -> None:
    found = merging.errors()
    assert found.rewordings > 25
    assert (found.two_values, found.again, found.stale_kept) == (0, 0, 0)
