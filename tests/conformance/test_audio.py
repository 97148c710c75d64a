"""A, B: nothing stale is heard, and the model knows what was heard."""

from __future__ import annotations

import re

from tests.conformance.bot import Bot, Line, said_by, since
from tests.conformance.ears import spoken
from tests.conformance.scenario import scenario
from voiceagent.sandbox.carrier import CallerStarted, CarrierFaults, MarkReturned
from voiceagent.sandbox.control import ToolCall

NAME = "2-name"
_INTERRUPTED = re.compile(r"interrupt|cut off|…|\.\.\.|—|--", re.IGNORECASE)


@scenario
async def test_A1_a_reply_wholly_at_the_carrier_is_cleared_and_nothing_of_it_follows(bot: Bot) -> None:
    menu = Line(
        "What is on the menu tonight?",
        "First there is pasta with clams, then grilled fish from the harbour, and after that a very long list of desserts.",
    )
    name = Line("Hold on, my name is Sarah.", "Nice to meet you, Sarah.", audio=NAME)
    async with bot.call(menu, name) as call:
        began = await call.ask(menu)
        if bot.steered:
            await bot.vendors.context("First there is pasta", over=True)
        await call.heard_for(1000, began)
        if bot.steered:
            assert call.queued_ms > 2000, "the scenario wants 2 s of the reply unheard"
        before = call.here
        cleared_ms = await call.interrupt(name)
        await call.listens(cleared_ms, before)
        await call.answered(before)
        await call.finished()
        if bot.steered:
            call.heard_exactly(name.answer, since_ms=cleared_ms)


@scenario
async def test_A2_marks_that_a_clear_returns_end_neither_the_reply_nor_the_call(bot: Bot) -> None:
    bye = Line(
        "I have to leave, so long.",
        "Goodbye and thank you for calling, we look forward to seeing you here again very soon.",
        audio="6-goodbye",
        tools=(ToolCall(name="end_call"),),
    )
    name = Line("Wait, it is under Miller.", "Under Miller, I have written that down.", audio=NAME)
    async with bot.call(bye, name, faults=CarrierFaults(late_marks_ms=300)) as call:
        began = await call.ask(bye)
        await call.heard_for(500, began)
        before = call.here
        cleared_ms = await call.interrupt(name)
        await call.listens(cleared_ms, before)
        await call.answered(before)
        call.is_up()
        if bot.steered:
            await call.finished()
            call.is_up()
            returned = [mark for mark in call.phone.timeline.all(MarkReturned) if mark.by == "clear"]
            assert returned, "the scenario wants outstanding marks"
            call.heard_exactly(name.answer, since_ms=cleared_ms)
            told = " ".join(said_by("assistant", since(bye.text, (await bot.vendors.asked(name.text))[-1])))
            assert len(spoken(told)) < len(spoken(bye.answer)) / 2, "what a clear flushed counts as heard"


@scenario(steered=True)
async def test_A3_late_audio_of_a_reply_never_heard_is_not_mixed_into_the_next(bot: Bot) -> None:
    first = Line("Do you have a terrace?", "Our terrace overlooks the water and stays open until midnight.")
    second = Line("Never mind, is dinner served?", "Dinner is served from six, every single evening of this week.")
    async with bot.call(first, second) as call:
        await bot.vendors.fault("Our terrace", "stall", delay_ms=2600)
        await call.say(first)
        await bot.vendors.turn_over(first.text)
        await bot.vendors.context("Our terrace")
        before = await call.say(second)
        await call.answered(before)
        await call.finished()
        call.heard_exactly(second.answer)
        late = await bot.vendors.context("Our terrace")
        assert late["chunks"], "the scenario wants audio of the first reply to come late"


@scenario(steered=True)
async def test_A4_a_voice_that_goes_on_after_a_cancel_is_not_heard(bot: Bot) -> None:
    first = Line(
        "Tell me about the history.",
        "Long ago a sailor built this tavern beside the old lighthouse while his daughter kept it through three wars and "
        "her cousins added another floor and painted everything yellow and planted forty lemon trees and dug wells and "
        "bred goats until somebody finally opened a kitchen.",
    )
    second = Line("Stop, just tell me the price.", "Lunch costs nine euros.")
    async with bot.call(first, second) as call:
        await bot.vendors.fault("Long ago", "late_chunks", count=80, delay_ms=40)
        began = await call.ask(first)
        await call.heard_for(400, began)
        before = call.here
        cleared_ms = await call.interrupt(second)
        await call.listens(cleared_ms, before)
        await call.answered(before)
        await call.finished()
        call.heard_exactly(second.answer, since_ms=cleared_ms)
        late = await bot.vendors.context("Long ago", over=True)
        assert late["cancelled_at_ms"], "the voice was not cancelled"
        assert late["ended_ms"] > late["cancelled_at_ms"] + 500, "the scenario wants a voice that goes on"


@scenario(steered=True)
async def test_B1_the_next_prompt_shows_the_reply_cut_at_the_last_heard_word(bot: Bot) -> None:
    first = Line(
        "Which wines do you keep?",
        "We keep eleven reds, seven whites, four from the island, and one very sweet dessert wine.",
    )
    second = Line("No, only beer please.", "Then a cold beer.")
    async with bot.call(first, second) as call:
        began = await call.ask(first)
        await call.heard_for(1000, began)
        before = call.here
        cleared_ms = await call.interrupt(second)
        await call.answered(before)
        began = await call.next(CallerStarted, after=before)
        heard = [word.text for word in call.words() if word.at_ms < cleared_ms]
        sure = [word for word in call.words() if word.at_ms + word.ms < began.at_ms]
        messages = (await bot.vendors.asked(second.text))[-1]
    messages = since(first.text, messages)
    roles = [message["role"] for message in messages]
    reply, user = roles.index("assistant"), roles.index("user", 1)
    told = spoken(messages[reply]["content"])
    assert told == spoken(first.answer)[: len(told)], "not a prefix of the reply"
    # The bot decides some time between the caller's first sound and its clear; a word in the making is a matter of taste.
    assert len(sure) - 1 <= len(told) <= len(heard), f"the caller heard {heard}, the model is told {told}"
    assert _INTERRUPTED.search(" ".join(message["content"] for message in messages[reply:user])), (
        "not marked as interrupted"
    )


@scenario(steered=True)
async def test_B3_nothing_heard_leaves_no_assistant_text(bot: Bot) -> None:
    first = Line("Are dogs welcome?", "Uncharacteristically-unconditionally they are, outside as well as in the bar.")
    second = Line("Actually, make it tomorrow.", "Tomorrow, with pleasure.")
    async with bot.call(first, second) as call:
        await call.ask(first)
        before = call.here
        await call.interrupt(second)
        await call.answered(before)
        messages = (await bot.vendors.asked(second.text))[-1]
        assert "".join(said_by("assistant", since(first.text, messages))) == ""
        await call.finished()
        assert call.text()[-3:] == spoken(second.answer)
