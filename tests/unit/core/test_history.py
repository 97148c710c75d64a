"""What the model is shown of a conversation."""

from __future__ import annotations

from dataclasses import replace

from calls.core.commands import Message, ToolCallItem
from calls.core.events import CallStarted
from calls.core.history import (
    CONTINUE_NOTE,
    INTERRUPTED_NOTE,
    NO_RESULT,
    PENDING_RESULT,
    of_reply,
    opening,
    request,
)
from calls.core.machine import step
from calls.core.state import Part, Reply, State, ToolRun
from tests.unit.core.world import World, agent

CALL = Message("assistant", tool_calls=(ToolCallItem("c1", "lookup", "{}"),))


def reply(*parts: Part) -> Reply:
    return Reply(turn=1, epoch=1, kind="answer", user_text="hello", parts=parts)


def test_the_date_stands_last_so_that_prompts_share_their_beginning() -> None:
    assert opening(State(agent=agent(), today="Monday")) == (Message("developer", "Be brief.\n\nToday is Monday."),)
    assert opening(State(agent=agent())) == (Message("developer", "Be brief."),)
    assert opening(State()) == (Message("developer", ""),)


def test_a_reply_is_cut_at_its_offset_across_its_parts() -> None:
    parts = (
        Part("One moment. "),
        Part(tool=ToolRun("c1", "lookup", "{}", "read", True, "ok", "{}")),
        Part("There is."),
    )
    tool = Message("tool", "{}", call_id="c1")
    user = Message("user", "hello")
    whole = (user, Message("assistant", "One moment."), CALL, tool, Message("assistant", "There is."))
    assert of_reply(reply(*parts), 100) == whole
    assert of_reply(reply(*parts), 17)[-1] == Message("assistant", "There")
    note = Message("developer", INTERRUPTED_NOTE)
    assert of_reply(reply(*parts), 3, note=INTERRUPTED_NOTE) == (user, Message("assistant", "One"), CALL, tool, note)
    assert of_reply(reply(*parts), 0) == (user, CALL, tool)


def test_every_call_stands_with_an_output() -> None:
    asked = ToolRun("c1", "lookup", "{}", "read")
    for tool, output in (
        (asked, NO_RESULT),
        (replace(asked, started=True), PENDING_RESULT),
        (replace(asked, started=True, outcome="ok", output="{}"), "{}"),
    ):
        messages = of_reply(reply(Part(tool=tool)), 0)
        assert messages[1:] == (CALL, Message("tool", output, call_id="c1"))


def test_a_reply_of_our_own_has_no_user_message() -> None:
    own = replace(reply(Part("Hello.")), user_text="")
    assert of_reply(own, 6) == (Message("assistant", "Hello."),)


def test_a_stopped_reply_stands_before_the_guess_that_its_words_began() -> None:
    stopped = replace(reply(Part("We have one at seven.")), cut_at=7)
    guess = replace(reply(), turn=2, user_text="no, at eight")
    shown = request(State(agent=agent(), cut=stopped, reply=guess), guess)
    assert [m.text for m in shown[1:]] == ["hello", "We have", INTERRUPTED_NOTE, "no, at eight"]


def test_a_resumed_reply_is_shown_as_generated_with_a_note_to_go_on() -> None:
    stopped = replace(reply(Part("We have one")), cut_at=7)
    shown = request(State(agent=agent(), cut=stopped), stopped, resumed=True)
    assert [m.text for m in shown[1:]] == ["hello", "We have one", CONTINUE_NOTE]


def test_what_is_on_file_is_quoted_in_its_own_letters() -> None:
    w = World(card=("Jürgen", "isst kein Geflügel"))
    w.say("ein Tisch")
    assert '{"name": "Jürgen", "notes": ["isst kein Geflügel"]}' in w.ask.messages[0].text


def test_the_date_of_the_call_is_told() -> None:
    started = CallStarted(call_sid="CA1", agent=agent(), today="Monday, 30 November")
    state, _ = step(State(), started)
    assert request(state, reply())[0].text.endswith("Today is Monday, 30 November.")
