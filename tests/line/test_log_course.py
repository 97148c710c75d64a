"""A call told from its log lines alone, held against its archive: every turn, and what explains it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from calls.models import CallEvent
from tests.line.conftest import Line, make_agent, policy, speech
from tests.line.hostile import eventually, quick
from tests.line.test_hostile_logs import logged
from tests.line.test_memory import RememberedCallers
from voiceagent.sandbox.carrier import AgentStarted, Cleared
from voiceagent.sandbox.control import Reply, ToolCall

if TYPE_CHECKING:
    from calls.models import Agent, Call, Turn

LONG = "First there is the pasta, then there is the fish, and after that a very long list of desserts. " * 3
BOOKING = {"name": "Wilhelmina", "party_size": 2, "date": "2026-11-24", "time": "19:00"}


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """Does not begin early, so that each turn asks once."""
    return make_agent(policy=policy(speculative=False))


@dataclass
class Course:
    """What the lines tell. ``turns`` by number, in the order in which they closed."""

    turns: dict[int, dict[str, Any]] = field(default_factory=dict)
    recalls: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    tools: dict[str, list[Any]] = field(default_factory=dict)
    stops: list[tuple[int, str]] = field(default_factory=list)
    phrases: list[tuple[int, str, int]] = field(default_factory=list)
    failures: list[tuple[str, str, int]] = field(default_factory=list)
    started: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)


def told(lines: list[dict[str, Any]]) -> Course:
    """Read the lines of one call, in their order."""
    course = Course()
    for line in lines:
        match line["event"]:
            case "call.started":
                course.started = line
            case "turn.closed":
                course.turns[line["closed_turn"]] = line
            case "memory.recalled":
                course.recalls[line["for_turn"]] = (line["outcome"], line["took_ms"], line["in_prompt"])
            case "tool.started":
                course.tools[line["call_id"]] = [line["tool"], line["for_turn"], line["at_ms"]]
            case "tool.settled":
                course.tools[line["call_id"]] += [line["outcome"], line["at_ms"]]
            case "reply.stopped":
                course.stops.append((line["at_ms"], line["by"]))
            case "phrase.played":
                course.phrases.append((line["for_turn"], line["phrase"], line["at_ms"]))
            case "vendor.failed":
                course.failures.append((line["vendor"], line["kind"], line["for_turn"]))
            case "call.ended":
                course.ended = line
    return course


async def recorded(row: Call) -> tuple[list[Turn], dict[str, list[CallEvent]]]:
    """The same, from the database: turns by number, events and commands by type."""
    by_type: dict[str, list[CallEvent]] = {}
    async for entry in CallEvent.objects.filter(call=row).order_by("seq"):
        by_type.setdefault(entry.type, []).append(entry)
    return [turn async for turn in row.turns.order_by("number")], by_type


async def an_eventful_call(line: Line) -> Call:
    """A greeting, a booking with a recall, a long answer that is cut, a model that refuses, a last answer."""
    quick(line)
    line.runtime.memory = RememberedCallers()
    line.ears.utterances("A table for two, Wilhelmina.", "Tell me everything.", "Stop it.", "Hello?")
    line.answers(("everything", Reply(text=LONG)), ("hello", Reply(text="Here I am.")))
    line.model.reply("One moment. ", tool_calls=[ToolCall(name="book_table", arguments=BOOKING)])
    line.model.reply("It is booked, Wilhelmina.")
    phone = line.call(caller="+15557654321")
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    for stays in (True, False):
        count = len(phone.timeline.events)
        await phone.speak(speech(700))
        await phone.wait_for(AgentStarted, after=count)
        if stays:
            await phone.wait_for_quiet()
    line.model.fault("openai.chat", "refuse", status=401)
    count = len(phone.timeline.events)
    await phone.speak(speech(900))
    await phone.wait_for(Cleared, after=count)
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    count = len(phone.timeline.events)
    await phone.speak(speech(700))
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    await phone.hang_up()
    row = await line.archived_call(phone)
    await eventually(lambda: not line.runtime.registry.live)
    return row


async def test_the_lines_of_a_call_tell_its_course(line: Line) -> None:
    with logged() as (output, _):
        row = await an_eventful_call(line)
    parsed = [json.loads(text) for text in output.getvalue().splitlines()]
    lines = [one for one in parsed if one.get("call_sid") == row.call_sid]
    course = told(lines)
    turns, events = await recorded(row)

    # The turns: which, of what kind, with what outcome and causes, and when.
    assert {turn.outcome for turn in turns} == {"answered", "interrupted", "failed_to_fallback"}
    assert turns[0].kind == "greeting"
    assert sorted(course.turns) == [turn.number for turn in turns]
    times = ("kind", "outcome", "latency_ms", "speech_ended_ms", "committed_ms", "first_audio_ms", "closed_ms")
    for turn in turns:
        said = course.turns[turn.number]
        assert {name: said[name] for name in times} == {name: getattr(turn, name) for name in times}, turn.number
        assert (said["wasted_chars"], said["wasted_tokens"]) == (turn.wasted_chars, turn.wasted_tokens)
        outcome = course.recalls.get(turn.number, ("",))[0]
        assert outcome == turn.recalled.get("outcome", "")
    closed = {entry.data["turn"]: entry for entry in events["TurnClosed"]}
    assert {number: said["causes"] for number, said in course.turns.items()} == {
        number: list(entry.data["causes"]) for number, entry in closed.items()
    }
    failed = next(turn.number for turn in turns if turn.outcome == "failed_to_fallback")
    assert "model:auth" in course.turns[failed]["causes"]

    # What explains them.
    ran, settled = events["RunTool"], {entry.data["call_id"]: entry for entry in events["ToolSettled"]}
    assert len(ran) == 1
    assert course.tools == {
        entry.data["call_id"]: [
            entry.data["name"], entry.data["turn"], entry.at_ms,
            settled[entry.data["call_id"]].data["outcome"], settled[entry.data["call_id"]].at_ms,
        ]
        for entry in ran
    }  # fmt: skip
    assert [at_ms for at_ms, _ in course.stops] == [entry.at_ms for entry in events["Clear"]]
    assert course.stops[0][1] in ("SpeechStarted", "TurnOpened")
    assert course.phrases == [(e.data["turn"], e.data["phrase"], e.at_ms) for e in events["PlayPhrase"]]
    assert course.phrases[0][:2] == (failed, "model_failed")
    assert course.failures == [("model", entry.data["kind"], entry.data["turn"]) for entry in events["ModelFailed"]]
    assert {number for number, (outcome, *_) in course.recalls.items() if outcome == "full"}

    # The call around them.
    ended = course.ended
    assert (ended["reason"], ended["duration_ms"]) == (row.end_reason, row.duration_ms)
    assert (ended["turns"], ended["barge_ins"]) == (row.turn_count, row.barge_in_count)
    assert round(ended["turn_latency_ms"]) == row.latency_median_ms
    assert (course.started["agent"], course.started["rules"]) == (
        "Test line",
        events["CallStarted"][0].data["agent"]["policy"]["version"],
    )
    assert [one["event"] for one in lines if one["logger"] == "calls"].count("turn.closed") == len(turns)

    # Every line says where it belongs, and little is said for each turn.
    ours = [one for one in parsed if one["logger"].startswith(("calls", "memory")) and one["event"] != "loop.blocked"]
    unplaced = [one for one in ours if one.get("call_sid") and not one.get("trace_id")]
    assert {one["event"] for one in unplaced} <= {"stream.status"}, "the carrier's callbacks may come to any process"
    assert {one["trace_id"] for one in lines if "trace_id" in one} == {row.trace_id}
    assert len([one for one in lines if one["logger"] == "calls"]) < 6 * len(turns)
    assert not any(word in output.getvalue() for word in ("Wilhelmina", "pasta", "7654321"))
