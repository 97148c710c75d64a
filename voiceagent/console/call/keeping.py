"""A call's story as it is kept: plain lists and mappings, and back. Pure.

``LAYOUT`` is raised with every change to what ``Story`` makes of a log: what was kept before is made anew.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from voiceagent.console.call.story import Attempt, Mark, Request, Steps, Story, Tool

LAYOUT = 1
#: What is kept as it is.
_PLAIN = ("at_ms", "last_seq", "end_reason", "model", "tokens", "voiced_chars", "retries", "errors", "speech")
#: Of the agent's version only what pages show: it is a row of its own.
_AGENT = ("name", "version", "language")


def closed(story: Story) -> dict[str, Any]:
    """The story of a call that is over, as values of JSON."""
    return {
        **{name: getattr(story, name) for name in _PLAIN},
        "states": story.states,
        "unheard": story.unheard,
        "marks": [[mark.at_ms, mark.kind, mark.text, mark.turn, mark.seq, mark.until_ms] for mark in story.marks],
        "turns": [[number, asdict(steps)] for number, steps in story.turns.items()],
        "agent": {name: story.agent[name] for name in _AGENT if name in story.agent},
    }


def opened(told: dict[str, Any]) -> Story:
    """The story again. Of the open turn of a call that ended within it nothing is left but its steps."""
    story = Story()
    for name in (*_PLAIN, "agent"):
        setattr(story, name, told[name])
    story.states = [(at_ms, state) for at_ms, state in told["states"]]
    story.unheard = [(start, end) for start, end in told["unheard"]]
    story.marks = [Mark(*mark) for mark in told["marks"]]
    story.turns = {number: _steps(steps) for number, steps in told["turns"]}
    return story


def _steps(told: dict[str, Any]) -> Steps:
    attempts = {int(epoch): _attempt(attempt) for epoch, attempt in told["attempts"].items()}
    return Steps(
        **told
        | {
            "attempts": attempts,
            "tools": {name: Tool(**tool) for name, tool in told["tools"].items()},
            "wordings": [(at_ms, text) for at_ms, text in told["wordings"]],
            "unsteady": {int(number): instead for number, instead in told["unsteady"].items()},
        }
    )


def _attempt(told: dict[str, Any]) -> Attempt:
    return Attempt(**told | {"requests": [Request(**request) for request in told["requests"]]})
