"""What a caller took back in the same call."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memory.core import rules
from memory.core.unwanted import without_forgotten
from memory.core.values import Said

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def kept(*texts: str) -> tuple[list[str], set[int]]:
    lines = [Said(0, "assistant", "Hello!", AT), *(Said(seq, "user", text, AT) for seq, text in enumerate(texts, 1))]
    found = rules.extract_all(lines)
    candidates, taken_back = without_forgotten(found.candidates, found.forgets, lines)
    return [one.text for one in candidates], set(taken_back)


@pytest.mark.parametrize(
    ("texts", "left", "taken_back"),
    [
        (("I am vegan.",), ["Is vegan"], set()),
        (("I am vegan.", "Forget my name."), ["Is vegan"], set()),
        (("My name is Maria Jensen.", "I am vegan.", "Forget my name."), ["Is vegan"], {1}),
        (("I am vegan.", "Forget what I just said."), [], {1}),
        (("I live in Leeds.", "I am vegan.", "Forget what I just said."), ["Lives in Leeds"], {2}),
        (("I am vegan.", "Please forget everything you know about me.", "I live in Leeds."), ["Lives in Leeds"], {1, 2}),
        (("My brother is allergic to nuts.", "I am vegan.", "Forget what I told you about my brother."), ["Is vegan"], {1}),
        (("Forget my name.", "My name is Maria Jensen."), ["Name: Maria Jensen"], set()),
    ],
)  # fmt: skip
def test_what_came_before_the_request_goes(texts: tuple[str, ...], left: list[str], taken_back: set[int]) -> None:
    assert kept(*texts) == (left, taken_back)
