"""Events and commands survive JSON; what is no record is refused with its place."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.core import record
from calls.core.events import CallStarted, WordsHeard
from calls.core.policy import EFFECTS, AgentProfile, PolicyError, ToolSpec, TurnPolicy
from calls.core.record import COMMAND_TYPES, EVENT_TYPES, RecordError

FUNCTIONS = st.builds(
    ToolSpec,
    name=st.text(min_size=1),
    description=st.text(),
    parameters=st.text(),
    effect=st.sampled_from(EFFECTS),
    timeout_ms=st.integers(1, 9999),
)
#: Classes that do not admit every value of their fields' types.
NAMED = {
    TurnPolicy: st.builds(TurnPolicy, verdict_ms=st.integers(1, 9999), speculative=st.booleans()),
    tuple[ToolSpec, ...]: st.lists(FUNCTIONS, max_size=3, unique_by=lambda tool: tool.name).map(tuple),
}


def anything(cls: Any) -> st.SearchStrategy[Any]:
    """Values of a record's class, its nested ones included."""
    if cls in NAMED:
        return NAMED[cls]
    if get_args(cls) and get_args(cls)[-1] is not Ellipsis:
        return st.tuples(*map(anything, get_args(cls)))
    if get_args(cls):
        return st.lists(anything(get_args(cls)[0]), max_size=3).map(tuple)
    if hasattr(cls, "__dataclass_fields__"):
        return st.builds(cls, **{name: anything(kind) for name, kind in record._hints(cls).items()})
    return st.from_type(cls)


@pytest.mark.search
@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(data=st.data())
def test_events_survive(name: str, data: st.DataObject) -> None:
    event = data.draw(anything(EVENT_TYPES[name]))
    written = record.dumps(event)
    read = record.event_from(json.loads(written))
    assert read == event
    assert record.dumps(read) == written


@pytest.mark.search
@pytest.mark.parametrize("name", sorted(COMMAND_TYPES))
@given(data=st.data())
def test_commands_survive(name: str, data: st.DataObject) -> None:
    command = data.draw(anything(COMMAND_TYPES[name]))
    written = record.dumps(command)
    read = record.command_from(json.loads(written))
    assert read == command
    assert record.dumps(read) == written


def test_the_bytes_are_sorted_and_plain() -> None:
    written = record.dumps(WordsHeard(at_ms=7, text="Grüß Gott"))
    assert written.decode() == '{"at_ms":7,"text":"Grüß Gott","type":"WordsHeard"}'


STARTED: dict[str, Any] = {"type": "CallStarted", "at_ms": 0, "call_sid": "CA1", "today": ""}
AGENT = record.payload(AgentProfile("A", 1, "i", "g", "v"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"type": "Nonsense"}, "unknown type 'Nonsense'"),
        ({}, "unknown type None"),
        ({"type": "AskModel"}, "unknown type 'AskModel'"),
        ({"type": "WordsHeard", "at_ms": 1}, "WordsHeard: .*text"),
        ({"type": "WordsHeard", "at_ms": 1, "text": "a", "more": 1}, "WordsHeard: unknown field 'more'"),
        ({"type": "WordsHeard", "at_ms": "1", "text": "a"}, "WordsHeard: expected int, got '1'"),
        ({"type": "WordsHeard", "at_ms": True, "text": "a"}, "WordsHeard: expected int, got True"),
        ({"type": "EarFailed", "at_ms": 1, "kind": "cut", "final": 1}, "EarFailed: expected bool, got 1"),
        (
            {"type": "WordsTimed", "at_ms": 1, "turn": 1, "epoch": 1, "words": "x"},
            "WordsTimed: expected a list, got str",
        ),
        ({"type": "WordsTimed", "at_ms": 1, "turn": 1, "epoch": 1, "words": ["x"]}, "TimedWord: expected an object"),
        ({**STARTED, "agent": {**AGENT, "phrases": [["trouble"]]}}, "AgentProfile: expected 2 values, got 1"),
        ({**STARTED, "agent": None}, "AgentProfile: expected an object, got NoneType"),
    ],
)
def test_what_is_no_record_is_refused(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        record.event_from(data)


def test_a_policy_in_a_record_is_checked_too() -> None:
    agent = {**AGENT, "policy": {**AGENT["policy"], "verdict_ms": 0}}
    with pytest.raises((RecordError, PolicyError), match="verdict_ms must be above 0"):
        record.event_from({**STARTED, "agent": agent})


def test_a_record_of_an_older_release_gets_what_is_new_by_default() -> None:
    agent = {**AGENT, "policy": {"verdict_ms": 900}}
    event = record.event_from({**STARTED, "agent": agent})
    assert event.agent.policy == TurnPolicy(verdict_ms=900)  # type: ignore[attr-defined]


def test_an_agents_own_phrases_are_written_and_read() -> None:
    own = AgentProfile("A", 1, "i", "g", "v", phrases=(("trouble", "Oh dear."), ("closing", "Bye.")))
    started = CallStarted(call_sid="CA1", agent=own)
    assert record.event_from(json.loads(record.dumps(started))) == started
