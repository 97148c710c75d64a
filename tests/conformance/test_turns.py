"""C, D, E, F: one reply to one turn, no call that is stuck or deaf, functions and false interruptions."""

from __future__ import annotations

from tests.conformance.bot import Bot, Line, said_by, speech
from tests.conformance.call import cough
from tests.conformance.ears import MS_PER_CHAR, spoken
from tests.conformance.scenario import scenario
from voiceagent.sandbox.carrier import AgentStarted, CallerStarted, CallerStopped, Cleared, Updated
from voiceagent.sandbox.control import ToolCall
from voiceagent.sandbox.sound import MULAW_SILENCE

NAME = "2-name"
#: How much later than it should a resumed reply may be heard: the scenarios share a machine.
_SLACK_MS = 400


@scenario
async def test_C1_a_second_final_transcript_amends_the_turn_and_there_is_one_reply(bot: Bot) -> None:
    first = Line("I would like to reserve.", "For how many people?", first_token_ms=1500)
    second = Line("Just the two of us.", "Certainly, a small table near the door.", audio=NAME)
    async with bot.call(first, second) as call:
        await call.say(first)
        if bot.steered:
            await bot.vendors.turn_over(first.text)
            before = await call.say(second, after_ms=300, wait=False)
        else:
            before = await call.say(second, after_ms=900, wait=False)
        await call.listens(await call.yields(before), before)
        await call.answered(before)
        await call.says_no_more()
        if bot.steered:
            call.heard_exactly(second.answer)
            users = said_by("user", (await bot.vendors.asked(second.text.rstrip(".")))[-1])
            assert [spoken(user) for user in users] == [spoken(f"{first.text} {second.text}")]


@scenario(steered=True)
async def test_C4_only_the_last_of_seven_guesses_becomes_audible(bot: Bot) -> None:
    words = ["Eighty", "colleagues", "are", "joining", "me", "next", "Sunday"]
    texts = [" ".join(words[: count + 1]) for count in range(len(words))]
    lines = [
        Line(text, f"{word} first {word}")
        for text, word in zip(texts, ["Ah", "Be", "Cy", "Do", "Ed", "Fa"], strict=False)
    ]
    last = Line(texts[-1], "Then you need the large hall.")
    burst_ms, gap_ms, begin_ms = 160, 280, 500
    step_ms = burst_ms + gap_ms
    script = [{"at_ms": begin_ms + 80, "type": "turn.start"}]
    for count, text in enumerate(texts):
        at_ms = begin_ms + 80 + count * step_ms
        if count:
            script.append({"at_ms": at_ms, "type": "turn.resume"})
        script.append({"at_ms": at_ms + burst_ms, "type": "turn.update", "transcript": text})
        script.append({"at_ms": at_ms + burst_ms + 150, "type": "turn.eager_end", "transcript": text})
    script.append({"at_ms": begin_ms + 7 * step_ms + 300, "type": "turn.end", "transcript": texts[-1]})
    # The script counts from the start of the call: a greeting is interrupted.
    async with bot.call(*lines, last, ears={"scripts": [script]}, greeting="") as call:
        silence = MULAW_SILENCE * (gap_ms * 8)
        before = await call.say(MULAW_SILENCE * (begin_ms * 8) + silence.join([speech(burst_ms)] * len(words)))
        began = await call.next(CallerStarted, after=before)
        await call.answered(before)
        await call.says_no_more()
        call.heard_exactly(last.answer, since_ms=began.at_ms + bot.target.reaction_ms)


@scenario
async def test_D1_a_cough_costs_no_word_and_no_long_silence(bot: Bot) -> None:
    ask = Line(
        "Describe the desserts.",
        "We bake lemon cake with almonds, apple pie with cream, and a dark chocolate mousse. Which one would you like?",
    )
    async with bot.call(ask, Line("")) as call:
        began = await call.ask(ask)
        await call.heard_for(800, began)
        before = await call.say(speech(200) if bot.steered else cough())
        coughed = await call.next(CallerStopped, after=before)
        try:
            cleared = await call.phone.wait_for(Cleared, after=before, timeout_s=bot.target.reaction_ms / 1000)
        except TimeoutError:
            assert call.audible_after(coughed.at_ms), "the reply fell silent without a clear"
        else:
            await call.goes_on(cleared)
        if bot.steered:
            await call.finished()
            call.heard_once(ask.answer)


@scenario
async def test_D3_a_caller_who_goes_on_after_a_pause_gets_an_audible_reply(bot: Bot) -> None:
    first = Line("My name is John.", "Welcome John, it is wonderful to hear from you once more.")
    second = Line("Doe, with an e.", "Thanks, Mister Doe.", audio=NAME)
    async with bot.call(first, second) as call:
        await call.ask(first)
        before = call.here
        stopped = await call.listens(await call.interrupt(second), before)
        await call.answered(before)
        await call.finished()
        if bot.steered:
            call.heard_exactly(second.answer, since_ms=stopped.at_ms)


@scenario(steered=True, needs="notice_to")
async def test_D6_words_over_a_notice_that_may_not_be_interrupted_are_answered_after_it(bot: Bot) -> None:
    ask = Line("Can I bring a pram?", "Prams fit nicely beside bench four.")
    notice = bot.target.notice_text
    async with bot.call(ask, to=bot.target.notice_to, greeting=notice) as call:
        began = await call.next(AgentStarted)
        await call.heard_for(300, began)
        await call.say(ask)
        await call.hears(ask.answer)
        assert not call.phone.timeline.all(Cleared), "the notice was interrupted"
        answer = spoken(ask.answer)
        assert call.text()[-len(answer) :] == answer
        if notice:
            call.heard_exactly(notice, ask.answer)
        assert len(await bot.vendors.asked(ask.text)) == 1


@scenario
async def test_E1_an_end_of_call_from_a_turn_committed_too_early_does_not_hang_up(bot: Bot) -> None:
    bye = Line("So that was everything.", "Goodbye then!", audio="6-goodbye", tools=(ToolCall(name="end_call"),))
    more = Line("Except for one question.", "Yes, what is it?", audio=NAME)
    async with bot.call(bye, more, ears={"eager_end_ms": 150, "end_ms": 350}) as call:
        await call.say(bye)
        before = await call.say(more, after_ms=450)
        await call.answered(before)
        call.is_up()
        if bot.steered:
            await call.finished()
            call.is_up()
            stopped = await call.next(CallerStopped, after=before)
            call.heard_exactly(more.answer, since_ms=stopped.at_ms)
            assert not call.phone.timeline.all(Updated)


@scenario(steered=True)
async def test_E3_the_result_of_a_function_survives_the_interruption_of_its_answer(bot: Bot) -> None:
    details = {"name": "Maria", "party_size": 2, "date": "2031-11-24", "time": "19:00"}
    book = Line(
        "Book it for Maria.",
        tools=(ToolCall(name="book_table", arguments=details),),
        after_tool="Maria, your booking is confirmed and there is nothing left to do.",
        first_token_ms=800,
    )
    park = Line("And where do I park?", "Behind the church.", audio=NAME)
    async with bot.call(book, park) as call:
        await call.say(book)
        (known,) = await bot.vendors.asked(book.text, after_tool=True)
        before = await call.say(park)
        await call.answered(before)
        await call.finished()
        messages = (await bot.vendors.asked(park.text))[-1]
        assert said_by("tool", messages) == said_by("tool", known), "the result is lost, or there is another"
        called = [each["id"] for message in messages for each in message.get("tool_calls") or ()]
        assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == called
        assert len(called) == 1, "the function ran again"
        assert call.text()[-3:] == spoken(park.answer)


@scenario(steered=True)
async def test_F1_a_back_channel_resumes_the_reply_at_the_same_word(bot: Bot) -> None:
    ask = Line(
        "How do I get there?",
        "Take the tram to the harbour, walk past the market, and turn left where the fountain used to be.",
    )
    async with bot.call(ask, Line("Mhm.")) as call:
        began = await call.ask(ask)
        await call.heard_for(900, began)
        before = await call.say(speech(300))
        hummed = await call.next(CallerStopped, after=before)
        told_ms = await bot.vendors.told_at("Mhm.") - call.phone.timeline.begun_at_ms
        cleared = call.phone.timeline.last(Cleared)
        if cleared is not None:
            verdict_ms = max(told_ms, hummed.at_ms)
            resumed = await call.goes_on(cleared)
            assert resumed.at_ms - verdict_ms < 300 + _SLACK_MS, "it resumed late"
        await call.finished()
        call.heard_once(ask.answer)


@scenario(steered=True)
async def test_F2_yes_over_the_tail_of_a_question_is_its_answer(bot: Bot) -> None:
    ask = Line("Is there room this week?", "There is room on most evenings. Shall we say Tuesday at eight?")
    yes = Line("Yes.", "Wonderful, see you then.")
    async with bot.call(ask, yes) as call:
        began = await call.ask(ask)
        await call.heard_for(ask.answer.index("Tuesday") * MS_PER_CHAR, began)
        before = await call.say(speech(300))
        stopped = await call.next(CallerStopped, after=before)
        await call.answered(before)
        await call.finished()
        call.heard_exactly(yes.answer, since_ms=stopped.at_ms)
        messages = (await bot.vendors.asked("Yes."))[-1]
        assert said_by("user", messages)[-2:] == [ask.text, "Yes."]
