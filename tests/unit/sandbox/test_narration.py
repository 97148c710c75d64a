"""The words of a call as its log tells them: in the order in which the caller lived through them."""

from __future__ import annotations

import json
from typing import Any

from voiceagent.sandbox.call.narration import Narration, Note


def told(*entries: tuple[int, str, dict[str, Any]]) -> list[tuple[str, str]]:
    narration, notes = Narration(), list[Note]()
    for step, kind, data in entries:
        notes += narration.read({"step": str(step), "type": kind, "data": json.dumps(data)})
    notes += narration.end()
    return [(note.kind, note.text) for note in notes]


def closed(outcome: str, generated: str, heard: str) -> dict[str, Any]:
    return {"outcome": outcome, "generated_text": generated, "heard_text": heard}


def test_a_reply_begun_on_a_guess_comes_after_the_words_it_answers() -> None:
    assert told(
        (1, "Say", {"epoch": 2, "text": "Yes, "}),
        (2, "Say", {"epoch": 2, "text": "on Sunday."}),
        (2, "EndSay", {"epoch": 2}),
        (3, "TurnEnded", {"text": "Are you open?"}),
        (4, "AudioSent", {"epoch": 2}),
        (5, "AudioSent", {"epoch": 2}),
        (6, "TurnClosed", closed("answered", "Yes, on Sunday.", "Yes, on Sunday.")),
    ) == [("understood", "Are you open?"), ("agent", "Yes, on Sunday.")]


def test_a_guess_that_was_dropped_is_not_told() -> None:
    assert told(
        (1, "Say", {"epoch": 2, "text": "Yes."}),
        (1, "EndSay", {"epoch": 2}),
        (2, "CancelVoice", {"epoch": 2}),
        (3, "TurnEnded", {"text": "Are you open on Monday?"}),
        (3, "Say", {"epoch": 3, "text": "No."}),
        (3, "EndSay", {"epoch": 3}),
        (4, "AudioSent", {"epoch": 3}),
    ) == [("understood", "Are you open on Monday?"), ("agent", "No.")]


def test_what_was_cut_off_comes_before_the_words_that_cut_it() -> None:
    assert told(
        (1, "Say", {"epoch": 2, "text": "We have pasta, "}),
        (2, "AudioSent", {"epoch": 2}),
        (3, "CancelVoice", {"epoch": 2}),
        (4, "TurnEnded", {"text": "Oh wait."}),
        (4, "CancelTimer", {}),
        (4, "TurnClosed", closed("interrupted", "We have pasta, ", "We have")),
        (5, "Say", {"epoch": 3, "text": "Yes?"}),
        (5, "AudioSent", {"epoch": 3}),
    ) == [("agent", "We have pasta,"), ("cut off", "We have"), ("understood", "Oh wait."), ("agent", "Yes?")]


def test_phrases_functions_and_results_are_told() -> None:
    assert told(
        (1, "PlayPhrase", {"epoch": 1, "phrase": "trouble"}),
        (2, "AudioSent", {"epoch": 1}),
        (3, "RunTool", {"name": "book_table", "arguments": '{"people":4}'}),
        (4, "ToolSettled", {"outcome": "ok", "output": "done"}),
        (5, "NeverHeardOf", {}),
    ) == [("agent", "(recorded phrase: trouble)"), ("function", 'book_table {"people":4}'), ("result", "ok done")]


def test_what_was_recalled_for_a_reply_comes_before_it_with_its_call_and_second() -> None:
    item = {"text": "Allergic to nuts", "conversation": "CA0123456789", "audio_ms": 12340, "in_prompt": True}
    entered = {"text": "Is a regular", "conversation": "", "audio_ms": -1, "in_prompt": True}
    items = [item, {**item, "text": "no", "in_prompt": False}, entered, entered]
    reply = ((3, "Say", {"epoch": 2, "text": "Yes."}), (3, "EndSay", {"epoch": 2}), (4, "AudioSent", {"epoch": 2}))

    def recalled(outcome: str, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
        data = {"epoch": 2, "outcome": outcome, "took_ms": 9, "items": found}
        return told((1, "MemoryRecalled", data), (2, "TurnEnded", {"text": "Hm?"}), *reply)

    texts = "in 9 ms: “Allergic to nuts” from CA012345… at 12.3 s; “Is a regular” and 1 more"
    assert recalled("full", items) == [("understood", "Hm?"), ("recalled", texts), ("agent", "Yes.")]
    assert recalled("words", items[:1])[1][1] == "in 9 ms (words): “Allergic to nuts” from CA012345… at 12.3 s"
    assert recalled("late", [])[1] == ("recalled", "nothing (late)")
    assert recalled("full", items[1:2]) == recalled("empty", []) == [("understood", "Hm?"), ("agent", "Yes.")]
