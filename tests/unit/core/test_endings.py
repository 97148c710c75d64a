"""The ways a call ends, and what may hold its end back."""

from __future__ import annotations

from calls.core import events as e
from calls.core.commands import HangUp
from tests.unit.core.world import World


def test_a_long_last_reply_is_heard_to_its_end() -> None:
    w = World()
    w.say("what are the rules")
    text = "There are so many rules that I could go on and on about them. " * 8 + "Goodbye. "
    w.model(text, tools=[("end_call", "{}")])
    w.voice()
    w.wait(len(text) * 60 - 200)
    assert w.of(HangUp) == []
    w.wait(3000)
    assert [c.reason for c in w.of(HangUp)] == ["agent_hung_up"]
    assert w.closed[-1].heard_text == text.strip()


def test_a_caller_who_interrupts_the_goodbye_may_speak_for_as_long_as_it_takes() -> None:
    w = World()
    w.say("that is all")
    w.model("Thank you for calling us today, goodbye. ", tools=[("end_call", "{}")])
    w.voice()
    w.wait(1000)
    w.starts()
    for second in range(20):
        w.wait(1000)
        w.feed(e.WordsHeard(text="wait, one more thing " + "and another " * second))
    w.stops()
    w.feed(e.TurnEnded(text="wait, one more thing"))
    assert w.of(HangUp) == []
    assert w.ask.turn == 2
    w.answer("Of course. ")
    w.wait(5000)
    assert w.of(HangUp) == []
