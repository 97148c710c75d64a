"""What stands in a call's record: enough to run it again."""

from __future__ import annotations

import json
from dataclasses import replace

from calls.core import events as e
from calls.core import record
from calls.core.policy import POLICY_VERSION
from calls.core.state import State
from calls.replay.digest import StateDigest, layout_of
from calls.replay.log import CallRecord, Line
from calls.replay.run import replay
from tests.actor.line import Line as PhoneLine
from tests.actor.line import call
from tests.unit.core.world import agent


async def test_it_names_the_rules_in_force_whatever_the_agents_version_was_made_under() -> None:
    plain = agent()
    async with call(replace(plain, policy=replace(plain.policy, version=POLICY_VERSION + 41))) as line:
        await line.wait(100)
    (started,) = line.of(e.CallStarted)
    assert started.agent.policy.version == POLICY_VERSION
    assert line.actor.agent == started.agent


async def test_a_conversation_replays() -> None:
    async with call(agent(greeting="Hello, how can I help you today?")) as line:
        await line.wait(4000)
        await line.say("is there a table")
        await line.wait(1500)
        await line.say("no, wait, tomorrow")
        await line.wait(3000)
    outcome = replay(record_of(line))
    assert outcome.is_same
    assert outcome.steps == outcome.states == len(line.steps)


def record_of(line: PhoneLine) -> CallRecord:
    """What the log would have of it."""
    digest = StateDigest(State, layout_of(State))
    lines: list[Line] = []
    for step in line.steps:
        for place, value in enumerate((step.event, *step.commands)):
            signed = "" if place else digest.of(step.state)
            lines.append(
                Line(
                    len(lines) + 1, step.seq, "command" if place else "event", type(value).__name__, step.event.at_ms,
                    step.wall_ms, str(step.state.mode), step.state.turn, json.loads(record.dumps(value)), signed,
                )
            )  # fmt: skip
    return CallRecord("CA0", tuple(lines), layout_of(State))
