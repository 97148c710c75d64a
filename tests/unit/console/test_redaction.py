"""What viewers do not read, found as figures and as words; lengths and words keep their places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent.console.redaction import ADDRESS, CARD, EMAIL, HIDDEN, NUMBER, Span, redacted, redacted_text


@pytest.mark.parametrize(
    ("text", "hidden", "kind"),
    [
        ("my card is 4111 1111 1111 1111, thanks", "4111 1111 1111 1111", CARD),
        ("it is 4111-1111-1111-1111", "4111-1111-1111-1111", CARD),
        ("card 378282246310005.", "378282246310005", CARD),
        ("call me on +44 20 7946 0018 please", "+44 20 7946 0018", NUMBER),
        ("call (555) 123-4567", "(555) 123-4567", NUMBER),
        ("my number is 0171/2345678", "0171/2345678", NUMBER),
        ("booking 4111 1111 1111 1112", "4111 1111 1111 1112", NUMBER),
        ("five five five, one two three four.", "five five five, one two three four", NUMBER),
        ("it is " + "four one one one " * 4 + "ok", ("four one one one " * 4).strip(), CARD),
        ("write to maria.jensen+x@example.co.uk now", "maria.jensen+x@example.co.uk", EMAIL),
        ("maria dot jensen at example dot com", "maria dot jensen at example dot com", EMAIL),
        ("I live at 221b Baker Street, London", "221b Baker Street", ADDRESS),
        ("Lindenstraße 12 in Berlin", "Lindenstraße 12", ADDRESS),
        ("calle de la Luna 14", "calle de la Luna 14", ADDRESS),
        ("au 12 bis, rue des Lilas", "12 bis, rue des Lilas", ADDRESS),
    ],
)
def test_it_is_hidden_whole(text: str, hidden: str, kind: str) -> None:
    spans = redacted(text)
    (found,) = [span for span in spans if span.kind]
    start = text.index(hidden)
    assert found.kind == kind
    assert redacted_text(text)[start : start + len(hidden)] == found.text
    assert len(found.text) == len(hidden)
    assert set(found.text) <= {HIDDEN, " "}
    assert redacted_text(text)[:start] == text[:start]


@pytest.mark.parametrize(
    "text",
    [
        "A table for four at 19:30 on the 28th.",
        "It is 12.50 for two, in 2026.",
        "one or two, maybe three",
        "No thank you, goodbye!",
        "We are at the corner, look for us at seven.",
        "",
    ],
)
def test_what_people_say_of_times_and_prices_stays(text: str) -> None:
    assert redacted(text) == ([Span(text)] if text else [])


@given(st.text(max_size=400))
def test_length_and_words_keep_their_places(text: str) -> None:
    shown = redacted_text(text)
    assert len(shown) == len(text)
    assert [char.isspace() for char in shown] == [char.isspace() for char in text]


@given(st.text(alphabet="0123456789 -+", min_size=6, max_size=60))
def test_no_run_of_six_figures_is_left(text: str) -> None:
    runs = "".join(char if char.isdigit() else "" if char in " -" else "/" for char in redacted_text(text)).split("/")
    assert all(len(run) < 6 for run in runs if "•" not in run) or "+" in text or "  " in text or "--" in text


def test_a_text_that_is_hostile_takes_no_time() -> None:
    """Each would take minutes in an expression that backtracks."""
    for text in ("1 " * 50_000, "a." * 50_000, "12 " + "x " * 50_000, "a at " * 20_000, "9" * 200_000):
        assert len(redacted_text(text)) == len(text)
