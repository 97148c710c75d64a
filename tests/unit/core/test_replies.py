"""A reply from its request to its last heard word: what the voice gets, what is tried again, what is given up."""

from __future__ import annotations

from calls.core import events as e
from calls.core.commands import EndSay
from tests.unit.core.world import World


def test_the_voice_is_told_once_that_no_more_text_follows() -> None:
    w = World()
    w.say("what time is it")
    w.model("One moment please, I look at the clock. ", tools=[("lookup", "{}"), ("end_call", "{}")])
    w.settle_tools()
    w.feed(e.SpeechEnded(voiced_until_ms=w.now))
    assert [(c.turn, c.epoch) for c in w.of(EndSay)] == [(1, 1)]
