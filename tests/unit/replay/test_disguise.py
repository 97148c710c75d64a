"""A disguised call takes the same steps and says nothing of what was said."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from calls.core import events as e
from calls.core.commands import TurnClosed
from calls.core.policy import POLICY_VERSION, AgentProfile, ToolSpec
from calls.core.record import EVENT_TYPES
from calls.core.state import State
from calls.replay import disguise
from calls.replay.disguise import JSON_SCHEMAS, JSON_VALUES, KEPT, DisguiseError, Words, disguised, other_words
from calls.replay.log import CallRecord
from calls.replay.run import replay
from calls.replay.versions import core_of
from tests.unit.core.fuzz import random_call
from tests.unit.core.world import World, agent
from tests.unit.replay.records import a_booking, record_of, with_line

CALL = a_booking()
OTHER = disguised(CALL)
VOCABULARY = core_of(POLICY_VERSION).vocabulary


def texts(value: Any) -> list[str]:
    """All texts in a value, without the names of fields and types."""
    if isinstance(value, dict):
        return [text for name, item in value.items() if name != "type" for text in texts(item)]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else [str(value)]


def said(call: CallRecord) -> str:
    return "\n".join(texts([line.data for line in call.lines])).lower()


def kinds(call: CallRecord) -> list[tuple[Any, ...]]:
    return [(line.seq, line.step, line.kind, line.type, line.at_ms, line.mode, line.turn) for line in call.lines]


def test_the_disguised_call_takes_the_same_steps() -> None:
    assert kinds(OTHER) == kinds(CALL)
    outcome = replay(OTHER)
    assert outcome.is_same
    assert outcome.states == outcome.steps
    assert [len(json.dumps(line.data)) for line in OTHER.lines] == [len(json.dumps(line.data)) for line in CALL.lines]
    assert disguised(CALL) == OTHER


@pytest.mark.search
@pytest.mark.parametrize("seed", range(5000, 5012))
def test_random_calls_can_be_disguised(seed: int) -> None:
    call = record_of(random_call(seed).steps)
    other = disguised(call)
    assert kinds(other) == kinds(call)
    assert replay(other).is_same


def test_no_word_name_number_or_id_is_left() -> None:
    other = said(OTHER)
    for word in "maria jensen saturday seven terrace bella vista receptionist k7m2p 2026 november voice".split():
        assert word in said(CALL)
        assert word not in other
    assert CALL.call_sid.lower() not in other
    assert {line.wall_ms - line.at_ms for line in OTHER.lines} == {disguise.WALL_MS}


def test_what_was_said_again_is_the_same_again() -> None:
    """The booked name stands in the caller's words, the function's arguments, the answer and the history alike."""
    other = OTHER
    booking = next(line.data for line in other.lines if line.type == "ModelToolCall")
    name = json.loads(booking["arguments"])["name"]
    assert re.fullmatch(r"[A-Z][a-z]{4} [A-Z][a-z]{5}", name)
    assert f"{name}." in [line.data["text"] for line in other.lines if line.type == "TurnEnded"]
    closed = [line.data for line in other.lines if line.type == "TurnClosed"]
    assert sum(name.split()[0] in turn["generated_text"] for turn in closed) == 2


def test_the_callers_id_is_another_of_the_same_form() -> None:
    other = OTHER
    assert re.fullmatch(r"CA[0-9a-f]{32}", other.call_sid)
    assert other.call_sid != CALL.call_sid
    assert other.lines[0].data["call_sid"] == other.call_sid
    assert all(x.data["key"].startswith(other.call_sid) for x in other.lines if x.type == "RunTool")


def test_a_word_across_pieces_is_one_word() -> None:
    words = Words(VOCABULARY)
    pieces = [("Glad", 1), ("ly! Sat", 1), ("urday", 1), ("Gladly", 2), (" Saturday", 2)]
    events: list[Any] = [e.ModelText(turn=epoch, epoch=epoch, text=text) for text, epoch in pieces]
    events.insert(3, e.ModelFinished(turn=1, epoch=1, reason="stop"))
    other = other_words(events, words)
    new = [event.text for event in other if isinstance(event, e.ModelText)]
    assert [len(text) for text in new] == [len(text) for text, _ in pieces]
    assert "".join(new[:3]) == words.text("Gladly! Saturday")
    assert "".join(new[3:]) == words.text("Gladly Saturday")
    assert other[3] == events[3]


def test_a_voice_that_was_quicker_than_the_next_piece_ended_a_word_there() -> None:
    w = World(agent(chunking="words"))
    w.say("is there a table")
    w.model("One mom", finish="")
    w.voice(finish=False)
    w.model("ent and a half please. ")
    w.voice()
    w.wait(9000)
    w.feed(e.CarrierGone(how="stop"))
    call = record_of(w.steps)
    heard = next(x.data["heard_text"] for x in disguised(call).lines if x.type == "TurnClosed" and x.turn == 1)
    assert re.fullmatch(r"One \w{3}ent \w{3} a \w{4} please\.", heard)


def test_an_agents_own_phrase_is_disguised_and_found_by_its_key() -> None:
    w = World(replace(agent(), phrases=(("model_failed", "Bella Vista lost its thread entirely."),)))
    w.say("is there a table")
    w.feed(e.ModelFailed(turn=w.ask.turn, epoch=w.ask.epoch, kind="server"))
    w.wait(9000)
    w.feed(e.CarrierGone(how="stop"))
    other = disguised(record_of(w.steps))
    ((key, text),) = other.lines[0].data["agent"]["phrases"]
    heard = next(line.data["heard_text"] for line in other.lines if line.type == "TurnClosed" and line.turn == 1)
    assert (key, heard) == ("model_failed", text)
    assert "Vista" not in text


def test_a_call_with_keys_and_tones_can_be_disguised() -> None:
    w = World(agent())
    w.say("press one")
    w.model("I press it. ", tools=[("send_dtmf", '{"digits":"1w2#"}')])
    w.voice()
    w.wait(9000)
    for digit in "42#":
        w.feed(e.DtmfPressed(digit=digit))
    w.feed(e.CarrierGone(how="stop"))
    other = disguised(record_of(w.steps))
    tones = next(line.data["digits"] for line in other.lines if line.type == "PlayTones")
    assert re.fullmatch(r"\dw\d#", tones)
    assert tones != "1w2#"
    assert [line.data["digit"] for line in other.lines if line.type == "DtmfPressed"][-1] == "#"


# --- what cannot be disguised -----------------------------------------------------------------------------------------


def test_a_record_that_differs_is_not_disguised() -> None:
    for call in (with_line(CALL, 0, digest="0" * 16), replace(CALL, lines=CALL.lines[:40]), replace(CALL, damage="x")):
        with pytest.raises(DisguiseError, match="does not replay as it is"):
            disguised(call)


def test_a_record_without_steps_is_not_disguised() -> None:
    with pytest.raises(DisguiseError, match="it has no steps"):
        disguised(CallRecord("CA0", (), {}))


def test_a_call_that_never_began_has_an_id_of_no_call() -> None:
    gone = e.CarrierGone(how="closed")
    after, commands = core_of(POLICY_VERSION).step(State(), gone)
    assert disguised(record_of([(State(), gone, commands, after)])).call_sid == disguise.NO_SID


def test_words_that_lead_elsewhere_are_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Words, "text", lambda self, text: text.replace("?", "!").replace(", ", ". "))
    with pytest.raises(DisguiseError, match=r"no other words take the same steps: step \d+ becomes another one"):
        disguised(CALL)


def test_other_words_are_tried_where_the_first_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Words.text
    monkeypatch.setattr(Words, "text", lambda self, text: "mhm" if self._seed == 0 else plain(self, text))
    other = disguised(CALL)
    assert replay(other).is_same
    assert "mhm" not in said(other)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kept",
    [
        "mhm", "Uh-huh.", "I", "a", "Mr. ", "Dr. ", "a.m.", "I'm sorry,", "One moment, please. ", "d'accord", "ach so",
        "?!", "+ -", "*", "#", "0",
    ],
)  # fmt: skip
def test_what_steers_the_core_stays(kept: str) -> None:
    assert Words(VOCABULARY).text(kept) == kept


def test_words_keep_length_case_and_signs_and_are_the_same_each_time() -> None:
    words = Words(VOCABULARY)
    text = "Hello JOHN, hello Straße-Nr. 12: it's 'quoted', über_all 2nd +15551234567"
    other = words.text(text)
    assert len(other) == len(text)
    assert re.sub(r"\w", "x", other) == re.sub(r"\w", "x", text)
    assert re.sub(r"[^\W\d_]", "x", other.swapcase().swapcase()) != other
    assert [x.isupper() for x in other] == [x.isupper() for x in text]
    assert [x.isdecimal() for x in other] == [x.isdecimal() for x in text]
    first, _, second = other.split()[0].lower(), *other.split()[1:3]
    assert first == second
    assert words.text(text) == other
    assert not {"hello", "john", "quoted"} & set(other.lower().split())


def test_different_words_never_become_the_same() -> None:
    words = Words(VOCABULARY)
    many = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnop" for c in "qrstuvwxyz"]
    invented = words.text(" ".join(many)).split()
    assert len(set(invented)) == len(many)
    assert not set(invented) & {text.lower() for text in VOCABULARY}


def test_more_words_than_can_be_invented_still_have_others() -> None:
    digits = [str(number) for number in range(10)]
    assert all(text.isdecimal() for text in Words(VOCABULARY).text(" ".join(digits)).split())


def test_json_keeps_its_names_and_form() -> None:
    words = Words(VOCABULARY)
    text = '{"name": "Maria \\"Mia\\" J\\u00f6rg", "people":14,"at":[ "19:00", null, true, 10.5 ], "note":""}'
    other = words.json(text)
    assert len(other) == len(text)
    old, new = json.loads(text), json.loads(other)
    assert new.keys() == old.keys()
    assert isinstance(new["people"], int)
    assert new["people"] != old["people"]
    assert new["at"][1:3] == [None, True]
    assert new["note"] == ""
    assert "Maria" not in other
    assert '\\"' in other
    assert "\\u00f6" in other
    assert len(str(new["people"])) == 2


def test_what_is_no_json_is_a_text() -> None:
    words = Words(VOCABULARY)
    assert words.json('{"name": "Maria') == words.text('{"name": "Maria')
    assert words.json("[" * 100_000) == "[" * 100_000


def test_of_a_schema_only_what_it_says_is_replaced() -> None:
    schema = {
        "type": "object",
        "properties": {"day": {"type": "string", "description": "Day at Bella Vista", "enum": ["Sunday", "Monday"]}},
        "required": ["day"],
    }
    spec = ToolSpec("book", "Book at Bella Vista", json.dumps(schema))
    started = e.CallStarted(call_sid="CA0", agent=AgentProfile("A", 1, "i", "g", "v", tools=(spec,)))
    words = Words(VOCABULARY)
    (other,) = other_words([started], words)
    (tool,) = other.agent.tools
    new = json.loads(tool.parameters)
    assert tool.name == "book"
    assert tool.description == words.text("Book at Bella Vista")
    assert (new["type"], new["required"]) == ("object", ["day"])
    day = new["properties"]["day"]
    assert day == {
        "type": "string",
        "description": words.text("Day at Bella Vista"),
        "enum": [words.text("Sunday"), words.text("Monday")],
    }
    assert "Bella" not in tool.parameters


# --- every field has been thought of ----------------------------------------------------------------------------------

#: Texts of people, vendors and machines: replaced.
WORDS = frozenset(
    "CallStarted.call_sid CallStarted.today DtmfPressed.digit WordsHeard.text EagerEnd.text TurnEnded.text ModelText.text "
    "ModelToolCall.call_id ToolSettled.call_id TimedWord.text AgentProfile.name AgentProfile.instructions "
    "AgentProfile.greeting AgentProfile.voice AgentProfile.model AgentProfile.idle_texts AgentProfile.transfer_to "
    "AgentProfile.goodbye_text AgentProfile.returning_greeting AgentProfile.phrases ModelFinished.model ToolSpec.description CardLoaded.name CardLoaded.text "
    "Recalled.id Recalled.text Recalled.after Recalled.said_at Recalled.conversation Recalled.quote "
    "HangUpAsked.operator HangUpAsked.why HangUpAsked.text HangUpAsked.key OperatorListening.by OperatorConnected.by OperatorWhispered.key "
    "OperatorWhispered.by OperatorWhispered.text OperatorSaid.key OperatorSaid.by OperatorSaid.text OperatorTookOver.key "
    "OperatorTookOver.by OperatorHandedBack.key OperatorHandedBack.by OperatorHandedBack.summary".split()
)


def text_fields(cls: Any) -> set[str]:
    found = set()
    for field in fields(cls):
        kind = get_type_hints(cls)[field.name]
        for part in (kind, *get_args(kind)):
            if part is str or str in get_args(part):
                found.add(f"{cls.__name__}.{field.name}")
            elif is_dataclass(part):
                found |= text_fields(part)
    return found


def test_of_every_text_in_an_event_it_is_decided_whether_it_is_kept() -> None:
    """A new field fails here: put it into ``WORDS`` above, or into ``calls.replay.disguise`` if it steers the core."""
    found = {name for cls in EVENT_TYPES.values() for name in text_fields(cls)}
    assert found == WORDS | KEPT | JSON_VALUES | JSON_SCHEMAS
    assert not WORDS & (KEPT | JSON_VALUES | JSON_SCHEMAS)


def test_commands_that_differ_in_more_than_letters_are_not_alike() -> None:
    turn = {"turn": 1, "words": ["a", 1]}
    assert disguise._alike(turn, {"turn": 1, "words": ["b", 1]})
    for other in (
        {"turn": 2, "words": ["a", 1]},
        {"turn": 1},
        {"turn": 1, "words": ["ab", 1]},
        {"turn": 1, "words": []},
        [],
        "x",
    ):
        assert not disguise._alike(turn, other)
    assert TurnClosed.__name__ in {line.type for line in CALL.lines}
