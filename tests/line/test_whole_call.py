"""Whole calls over real sockets: webhook, stream, recognition, model, voice, REST, archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.codecs.twilio import parse_mark_name
from calls.models import Booking
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, Cleared
from voiceagent.sandbox.control import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.line.conftest import Line
    from voiceagent.sandbox.carrier import PhoneCall
    from voiceagent.sandbox.carrier.stream import ServerMessage


def epochs_around_the_clear(phone: PhoneCall) -> tuple[set[int], set[int]]:
    """Whose audio came before the only ``clear`` and whose after it; after it every piece is followed by the mark that
    names it."""
    assert phone.stream is not None
    messages = phone.stream.messages
    kinds = [message.event for message in messages]
    (cleared,) = (at for at, kind in enumerate(kinds) if kind == "clear")
    after = messages[cleared + 1 :]
    marks = [message for message in after if message.event == "mark"]
    assert [message.event for message in after] == ["media", "mark"] * len(marks)
    return epochs_of(messages[:cleared]), epochs_of(marks)


def epochs_of(messages: Sequence[ServerMessage]) -> set[int]:
    """The epochs that their marks name."""
    names = [parse_mark_name(message.name) for message in messages if message.event == "mark"]
    return {name.epoch for name in names if name}


async def test_a_call_is_greeted_answered_and_archived(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("What time do you open?")
    line.answers(("open", Reply(text="We open at noon, every day but Monday.")))
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    count = len(phone.timeline.events)
    await phone.speak(talk(900))
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    await phone.hang_up()

    row = await line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert [turn.kind for turn in turns] == ["greeting", "answer"]
    assert turns[0].heard_text == "Hello there, this is the test line."
    assert turns[1].user_text == "What time do you open?"
    assert turns[1].heard_text == "We open at noon, every day but Monday."
    assert turns[1].outcome == "answered"
    assert row.end_reason == "caller_hung_up"
    assert row.from_number == "+15550001111"
    assert row.audio["frames"] > 100
    assert set(row.audio) == {"frames", "late", "worst_ms", "waited_ms", "dropped"}


async def test_a_barge_in_stops_the_reply_and_nothing_of_it_follows(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("Tell me everything.", "Stop, please.")
    long = "First there is the pasta, then there is the fish, and after that a very long list of desserts."
    line.answers(("everything", Reply(text=long)), ("stop", Reply(text="All right.")))
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    count = len(phone.timeline.events)
    await phone.speak(talk(900))
    await phone.wait_for(AgentStarted, after=count)
    count = len(phone.timeline.events)
    await phone.speak(talk(900))
    cleared = await phone.wait_for(Cleared, after=count)
    began = await phone.wait_for(CallerStarted, after=count)
    assert cleared.at_ms - began.at_ms < 400
    await phone.wait_for(AgentStarted, after=count)
    await phone.wait_for_quiet()
    await phone.hang_up()
    before, after = epochs_around_the_clear(phone)
    assert (len(before), len(after)) == (2, 1)  # greeting and cut answer; the last answer, after any discarded guesses
    assert min(after) > max(before)

    row = await line.archived_call(phone)
    turns = [turn async for turn in row.turns.order_by("number")]
    assert [turn.outcome for turn in turns] == ["answered", "interrupted", "answered"]
    assert turns[1].generated_text.startswith(turns[1].heard_text)
    assert len(turns[1].heard_text) < len(turns[1].generated_text)
    assert turns[2].user_text == "Stop, please."


async def test_a_function_is_called_once_and_a_goodbye_ends_the_call(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("A table for two tomorrow at seven, Maria.", "Bye.")
    booking = {"name": "Maria", "party_size": 2, "date": "2026-11-24", "time": "19:00"}
    line.answers(("bye", Reply(text="Goodbye, Maria.", tool_calls=[ToolCall(name="end_call")])))
    line.model.reply("One moment. ", tool_calls=[ToolCall(name="book_table", arguments=booking)])
    line.model.reply("It is booked, Maria.")
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    for _ in range(2):
        count = len(phone.timeline.events)
        await phone.speak(talk(900))
        await phone.wait_for(AgentStarted, after=count)
        if phone.is_up:
            await phone.wait_for_quiet()
    over = await phone.wait_until_over()
    assert over.by != "caller"

    row = await line.archived_call(phone)
    assert row.end_reason == "agent_hung_up"
    assert [b.name async for b in Booking.objects.filter(call_sid=phone.call_sid)] == ["Maria"]
    last = await row.turns.order_by("-number").afirst()
    assert last is not None
    assert last.heard_text == "Goodbye, Maria."
