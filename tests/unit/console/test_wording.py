"""Which words the recogniser had otherwise before, and how they are shown to whom."""

from __future__ import annotations

import pytest

from voiceagent.console.call.cards import Unsteady, marked, spans, wordings
from voiceagent.console.call.story import Steps
from voiceagent.console.call.wording import places, unsteady


@pytest.mark.parametrize(
    ("wordings", "final", "expected"),
    [
        (["a", "a tab", "A table", "A table for"], "A table for two.", {}),
        (["A table for to"], "A table for two people.", {3: "to"}),
        (["A table for too", "a table for you"], "A table for two people.", {3: "you"}),
        (["The table fore two peo"], "A table for two people.", {0: "The", 2: "fore"}),
        (["Can sell it"], "Cancel it, please.", {0: "Can sell"}),
        (["two people"], "At seven, for two people.", {}),
        ([""], "Yes.", {}),
        (["x " * 500], "y " * 500, {}),
    ],
)
def test_what_was_taken_back_is_unsteady_and_what_went_on_is_not(
    wordings: list[str], final: str, expected: dict[int, str]
) -> None:
    assert unsteady(wordings, final) == expected


def test_words_have_their_places() -> None:
    assert places("  At seven, for", [1, 2]) == [(1, 5, 11), (2, 12, 15)]


def shown(text: str, found: dict[int, str], *, plain: bool) -> list[str | tuple[str, str]]:
    made = marked(text, spans(text, plain=plain), found, plain=plain)
    assert "".join(one.text for one in made) == "".join(span.text for span in spans(text, plain=plain))
    return [(one.text, one.before) if isinstance(one, Unsteady) else one.text for one in made]


def test_a_marked_text_is_as_long_and_hides_as_much() -> None:
    assert shown("For two people.", {1: "to"}, plain=True) == ["For ", ("two", "to"), " people."]
    card = "Card 4111 1111 1111 1111 for two."
    assert shown(card, {2: "1112", 6: "to"}, plain=False) == ["Card ", "•••• •••• •••• ••••", " for ", ("two.", "")]
    assert shown(card, {2: "1112"}, plain=True)[1] == ("1111", "1112")
    assert shown("For two.", {1: "call 0170 123 456 78"}, plain=False)[1] == ("two.", "call •••• ••• ••• ••")


def test_a_half_said_number_is_not_told_by_what_was_understood_on_the_way() -> None:
    steps = Steps(wordings=[(10, "It is 4111"), (20, "It is 4111 1111 1111 1111")])
    final = "It is 4111 1111 1111 1111."
    assert wordings(steps, final, plain=False) is None
    told = wordings(steps, final, plain=True)
    assert told is not None
    assert next((at_ms, at, text[0].text) for at_ms, at, text in told) == (10, "0:00.0", "It is 4111")
