"""G, H, J: timers and endings, vendors that fail, and who is admitted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.conformance.bot import Bot, Line
from tests.conformance.call import audio
from tests.conformance.ears import spoken
from tests.conformance.scenario import scenario
from voiceagent.sandbox.carrier import (
    AgentStarted,
    AgentStopped,
    CallFailedError,
    PhoneCall,
    StreamOpened,
    WebhookAnswered,
)
from voiceagent.sandbox.control import ToolCall

if TYPE_CHECKING:
    from voiceagent.sandbox.carrier.stream import MediaStream

#: How much later than its idle time a bot may prompt, and how much earlier: a voice takes a moment to begin.
_LATE_MS, _EARLY_MS = 3000, 250


@scenario(needs="idle_ms")
async def test_G1_the_idle_time_starts_when_the_last_word_is_heard(bot: Bot) -> None:
    ask = Line(
        "What is there to see nearby?",
        "The lighthouse, the castle with both museums, the old mill and the botanical garden; most visitors spend a whole day.",
    )
    async with bot.call(ask, to=bot.target.idle_to) as call:
        before = await call.say(ask)
        await call.answered(before)
        await call.finished()
        ended = call.phone.timeline.last(AgentStopped)
        assert ended is not None
        patience_s = (bot.target.idle_ms + _LATE_MS) / 1000
        prompt = await call.next(AgentStarted, lambda it: it.at_ms > ended.at_ms, timeout_s=patience_s)
        silence_ms = prompt.at_ms - ended.at_ms
        assert silence_ms >= bot.target.idle_ms - _EARLY_MS, f"prompted after {silence_ms:.0f} ms of silence"
        if bot.steered:
            assert [word.text for word in call.words() if word.at_ms < ended.at_ms] == spoken(ask.answer)


@scenario
async def test_G3_the_hang_up_waits_for_the_end_of_the_goodbye(bot: Bot) -> None:
    bye = Line(
        "Thank you, goodbye.",
        "You are most welcome, have a lovely evening, goodbye.",
        audio="6-goodbye",
        tools=(ToolCall(name="end_call"),),
    )
    async with bot.call(bye) as call:
        await call.ask(bye)
        over = await call.is_ended()
        assert call.queued_ms <= 60, f"{call.queued_ms:.0f} ms of the goodbye were cut off"
        assert over.at_ms - call.audible_after(0)[-1] <= bot.target.hangup_ms
        if bot.steered:
            call.heard_exactly(bye.answer)


@scenario(steered=True)
async def test_H1_a_voice_that_dies_is_replaced_for_the_unheard_words_only(bot: Bot) -> None:
    ask = Line(
        "Which colours are there?", "Turquoise, burgundy, vermilion, lavender, chartreuse, magenta, ochre, indigo."
    )
    async with bot.call(ask) as call:
        await bot.vendors.fault("Turquoise", "cut", after=7)
        await call.ask(ask)
        await call.finished()
        call.heard_once(ask.answer)
        dead = await bot.vendors.context("Turquoise")
        assert dead["outcome"] == "failed", "the scenario wants a voice that dies"


@scenario(steered=True)
async def test_H3_a_voice_that_returns_nothing_falls_back_and_the_call_goes_on(bot: Bot) -> None:
    mute = Line("Do you cater for weddings?", "Weddings are what our chef likes best of everything.")
    fine = Line("Hello, anybody there?", "Sorry about that.", audio="2-name")
    async with bot.call(mute, fine) as call:
        await bot.vendors.fault("Weddings", "stall", times=0)
        await call.ask(mute)
        await call.finished()
        assert call.text() == [], "the voice was to be mute"
        before = await call.say(fine)
        await call.answered(before)
        await call.finished()
        call.heard_exactly(fine.answer)


@scenario(needs="capacity", alone=True)
async def test_J1_of_two_calls_at_one_free_slot_one_is_busy(bot: Bot) -> None:
    placed: list[PhoneCall] = []

    async def place() -> PhoneCall:
        phone = bot.carrier.call(called=bot.target.to, keep_audio=False)
        placed.append(phone)
        with suppress(CallFailedError):
            await phone.start()
        return phone

    async def place_until_admitted() -> None:
        # Calls of a moment ago may not have left their places yet.
        async with asyncio.timeout(10):
            while (await place()).stream is None:  # noqa: ASYNC110 - each attempt is a call
                await asyncio.sleep(0.2)

    try:
        for _ in range(bot.target.capacity - 1):
            await place_until_admitted()
        two = await asyncio.gather(place(), place())
        assert sorted(phone.stream is not None for phone in two) == [False, True]
        (refused,) = (phone for phone in two if phone.stream is None)
        answers = refused.timeline.all(WebhookAnswered)
        assert [answer.status for answer in answers] == [200], "the busy answer is a document"
        assert not refused.timeline.all(StreamOpened)
        assert "Connect" not in answers[0].verbs
        await placed[0].hang_up()
        await place_until_admitted()
    finally:
        await asyncio.gather(*(phone.hang_up() for phone in placed if phone.is_up), return_exceptions=True)


@scenario
async def test_J2_a_second_stream_of_one_call_has_no_agent_of_its_own(bot: Bot) -> None:
    ask = Line("What is your address?", "Ninety, Harbour Street.", audio="3-menu")
    async with (
        bot.call(ask) as call,
        call.another_stream(fresh=False) as replayed,
        call.another_stream(fresh=True) as fresh,
    ):
        streams = [stream for stream in (call.stream, replayed, fresh) if stream is not None]
        await asyncio.gather(*(stream.say(audio(ask.audio), "") for stream in streams))
        before = [_media(stream) for stream in streams]
        async with asyncio.timeout(bot.target.answer_ms / 1000):
            while [_media(stream) for stream in streams] == before:  # noqa: ASYNC110 - whichever stream it is
                await asyncio.sleep(0.02)
        await call.finished()
        while any(stream.queue.queued_bytes for stream in streams):  # noqa: ASYNC110 - true by time passing
            await asyncio.sleep(0.02)
        spoke = [_media(stream) > count for stream, count in zip(streams, before, strict=True)]
        assert spoke.count(True) == 1, "more than one agent answers the call"


def _media(stream: MediaStream) -> int:
    return sum(message.event == "media" for message in stream.messages)
