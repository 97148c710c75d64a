"""What to say next: intents of the last utterance, slots of the whole history, results of functions."""

from __future__ import annotations

import datetime as dt
import re

from voiceagent.sandbox.openai.conversation import Answer, Call, Conversation
from voiceagent.sandbox.persona import booking, facts, memory, remembering, words
from voiceagent.sandbox.persona.scene import Scene, agent_said, join, read_scene

_QUESTIONS = {
    "party_size": "For how many people?",
    "date": "For what day would you like the table?",
    "time": "At what time?",
    "name": "And under what name may I put it?",
}
_QUESTION_WORD = re.compile(r"\?|^\W*(?:do|does|is|are|can|could|what|where|when|which|how|have|will|would)\b", re.I)
_INTERRUPTED = re.compile(r"\s*[\[(<](?:interrupted|cut|…)[^\])>]*[\])>]?\s*$|\s*(?:\.\.\.|…|—|-)\s*$", re.I)
_LAST_TABLE, _FIRST_TABLE = dt.time(21, 30), dt.time(12, 0)
_LARGEST = 8


def respond(conversation: Conversation) -> Answer:
    """The answer of the stand-in's model."""
    scene = read_scene(conversation)
    if conversation.turns and conversation.turns[-1].role == "tool":
        return _after_function(scene)
    for intent, reply in (("go_on", _go_on), ("goodbye", _goodbye), ("repeat", _repeat), ("human", _human)):
        if intent in scene.intents:
            return reply(scene)
    if not scene.said.strip():
        return Answer(_greeting(scene))
    if (wish := remembering.about_memory(scene)) is not None:
        return wish
    return _in_the_house(scene)


def _in_the_house(scene: Scene) -> Answer:
    """The answer to what is no matter of the conversation itself, nor of memory."""
    if facts.is_restaurant(scene.conversation.instructions):
        return _receptionist(scene)
    return _anybody(scene)


def _greeting(scene: Scene) -> str:
    house = facts.house(scene.conversation.instructions)
    return f"{house or 'Hello'}, good day{scene.name}! How can I help you?"


# A restaurant ---------------------------------------------------------------------------------------------------------


def _receptionist(scene: Scene) -> Answer:
    answers = [facts.answer(topic, scene.conversation.instructions) for topic in facts.topics_in(scene.said)]
    if "my_booking" in scene.intents and not answers:
        return Answer(_own_booking(scene))
    if "identity" in scene.intents:
        house = facts.house(scene.conversation.instructions) or "the restaurant"
        answers.append(f"I'm the telephone assistant of {house}.")
    booked = scene.booked
    learned = scene.slots != scene.before
    if scene.wants_table and (booked is None or (learned and _differs(scene, booked))):
        return _take_booking(scene, answers)
    parts = [_thanks_for_name(scene), *answers]
    if not answers:
        parts.append(_small_talk(scene, booked is not None))
    elif booked is None and not scene.wants_table and len(" ".join(answers)) < 120:
        parts.append("Would you like to book a table?")
    return Answer(join(parts))


def _take_booking(scene: Scene, answers: list[str]) -> Answer:
    objection = _objection(scene)
    parts = [_thanks_for_name(scene), *answers]
    known = remembering.from_memory(scene)
    if objection:
        return Answer(join([*parts, objection]))
    missing = scene.slots.missing
    tool = booking.booking_tool(scene.conversation)
    if missing:
        opening = "" if answers or parts[0] else _acknowledge(scene)
        return Answer(join([*parts, opening, known, _question(scene, missing[0])]))
    if tool is None:
        return Answer(join([*parts, known, _summary(scene), "We'll confirm it by text message."]))
    moment = "One moment, I'll put that in the book." if not answers else "And I'm putting the table in the book."
    return Answer(join([*parts, known, moment]), (booking.booking_call(tool, scene.slots),))


def _question(scene: Scene, missing: str) -> str:
    """How to ask for what is missing; what is usual for the caller is proposed."""
    usual = memory.usual_party(scene.memory, words.to_number) if missing == "party_size" else None
    return f"For {words.say_number(usual)} people, {memory.AS_USUAL}" if usual else _QUESTIONS[missing]


def _objection(scene: Scene) -> str | None:
    """Why the table cannot be had as it was asked for."""
    wanted, instructions = scene.slots, scene.conversation.instructions
    closed = facts.closed_day(instructions)
    if wanted.date is not None and closed == words.WEEKDAYS[wanted.date.weekday()]:
        return f"I'm afraid we're closed on {closed.capitalize()}s. Which other day would suit you?"
    if wanted.time is not None and not _FIRST_TABLE <= wanted.time <= _LAST_TABLE:
        return "I'm afraid the kitchen is closed then; we serve from noon to half past nine. At what time would you like to come?"
    if wanted.party_size is not None and wanted.party_size > _LARGEST:
        return f"For more than {words.say_number(_LARGEST)} people the owner arranges the evening personally. She will call you back today."
    return None


def _thanks_for_name(scene: Scene) -> str:
    learned = scene.slots.name is not None and scene.slots.name != scene.before.name
    return f"Thank you{scene.name}." if learned else ""


def _acknowledge(scene: Scene) -> str:
    """What was just understood, so that the caller can correct it."""
    now, before = scene.slots, scene.before
    heard: list[str] = []
    if now.party_size != before.party_size and now.party_size is not None:
        heard.append(f"for {words.say_number(now.party_size)}")
    if now.date != before.date and now.date is not None:
        heard.append(words.say_date(now.date, scene.today))
    if now.time != before.time and now.time is not None:
        heard.append(f"at {words.say_time(now.time)}")
    text = " ".join(heard)
    if text:
        return f"A table {text}, gladly." if "book" in scene.intents else f"{text[0].upper()}{text[1:]}, good."
    if "book" in scene.intents:
        return "Gladly."
    return "I'm sorry, I didn't quite get that."


def _summary(scene: Scene) -> str:
    wanted = scene.slots
    size = f" for {words.say_number(wanted.party_size)}" if wanted.party_size else ""
    day = f" {words.say_date(wanted.date, scene.today)}" if wanted.date else ""
    time = f" at {words.say_time(wanted.time)}" if wanted.time else ""
    return f"That's a table{size}{day}{time}, under the name {wanted.name}."


def _differs(scene: Scene, booked: Call) -> bool:
    tool = booking.booking_tool(scene.conversation)
    return tool is not None and not booking.same_arguments(booked, booking.booking_call(tool, scene.slots))


def _after_function(scene: Scene) -> Answer:
    turns = scene.conversation.turns
    called = next((turn.calls[-1].name for turn in reversed(turns) if turn.calls), "")
    result = turns[-1].text
    if kind := memory.kind_of(called):
        call = next(turn.calls[-1] for turn in reversed(turns) if turn.calls)
        return remembering.after_memory(scene, kind, call, result) or _in_the_house(scene)
    if not re.search(r"book|reserv", called, re.I):
        if re.search(r"end_?call|hang_?up", called, re.I):
            return Answer("Goodbye!")
        return Answer(
            "That's done. Is there anything else?" if booking.went_well(result) else "I'm sorry, that didn't work."
        )
    if booking.went_well(result):
        return Answer(f"You're booked{scene.name}. {_summary(scene)} Is there anything else I can do for you?")
    if re.search(r"full|available|taken", result, re.I):
        return Answer(f"I'm sorry{scene.name}, that time is taken. Would another time suit you?")
    return Answer(
        f"I'm sorry{scene.name}, the booking did not go through. Somebody will call you back in a few minutes."
    )


def _own_booking(scene: Scene) -> str:
    if scene.booked is not None:
        return f"Of course{scene.name}. {_summary(scene)}"
    if scene.slots.name:
        return f"You're {scene.slots.name}, and I have no booking for you yet. Would you like a table?"
    return "I don't have your name yet. What is your name?"


def _small_talk(scene: Scene, booked: bool) -> str:
    intents = scene.intents
    if "done" in intents or "deny" in intents or ("thanks" in intents and booked):
        day = f" {words.say_date(scene.slots.date, scene.today)}" if booked and scene.slots.date else ""
        return f"You're welcome{scene.name}. We look forward to seeing you{day}."
    if "thanks" in intents:
        return "You're welcome. Is there anything else?"
    if "affirm" in intents and "book a table?" in agent_said(scene.conversation.turns):
        return f"Gladly. {_QUESTIONS[scene.slots.missing[0]] if scene.slots.missing else ''}"
    if "greeting" in intents:
        return f"Hello{scene.name}! How can I help you?"
    if scene.slots.name is not None and scene.slots.name != scene.before.name:
        return "How can I help you?"
    if booked:
        return "Is there anything else I can do for you?"
    if _QUESTION_WORD.search(scene.said):
        found = facts.passage_about(scene.said, scene.conversation.instructions)
        return found or "I'm not sure about that; somebody will call you back. Can I book a table for you?"
    return "I'm sorry, I didn't quite catch that. Would you like to book a table, or is there something you'd like to know?"


# Any agent ------------------------------------------------------------------------------------------------------------


def _anybody(scene: Scene) -> Answer:
    """A polite stand-in for an agent it knows only from its instructions."""
    parts = [_thanks_for_name(scene)]
    found = facts.passage_about(scene.said, scene.conversation.instructions)
    if "identity" in scene.intents:
        parts.append(f"I'm the assistant of {facts.house(scene.conversation.instructions) or 'this line'}.")
    elif found:
        parts.append(found)
    elif "thanks" in scene.intents or "done" in scene.intents or "deny" in scene.intents:
        parts.append(f"You're welcome{scene.name}. Is there anything else?")
    elif "greeting" in scene.intents and len(scene.said.split()) < 5:
        parts.append("Hello! How can I help you?")
    elif _QUESTION_WORD.search(scene.said):
        parts.append("That I don't know, but I'll note your question and somebody will call you back.")
    else:
        parts.append("I see. I've noted that. What else can I do for you?")
    return Answer(join(parts))


# What every agent can do ------------------------------------------------------------------------------------------------


def _goodbye(scene: Scene) -> Answer:
    booked = scene.booked
    day = f" {words.say_date(scene.slots.date, scene.today)}" if booked is not None and scene.slots.date else ""
    seeing = f" We look forward to seeing you{day}." if booked is not None else ""
    tool = booking.ending_tool(scene.conversation)
    calls = (booking.bare_call(tool),) if tool is not None else ()
    return Answer(f"Thank you for calling{scene.name}.{seeing} Goodbye!", calls)


def _human(scene: Scene) -> Answer:
    tool = booking.transfer_tool(scene.conversation)
    if tool is not None:
        return Answer("Of course, I'll put you through.", (booking.bare_call(tool),))
    return Answer("I'm sorry, nobody is free just now. May I have somebody call you back?")


def _repeat(scene: Scene) -> Answer:
    last = _INTERRUPTED.sub("", agent_said(scene.conversation.turns))
    return Answer(f"Of course. {_whole(last)}" if last else _greeting(scene))


def _go_on(scene: Scene) -> Answer:
    """The rest of what was cut off."""
    for turn in reversed(scene.conversation.turns):
        cut = _INTERRUPTED.sub("", turn.text)
        if turn.role != "assistant" or not cut or cut.endswith((".", "!", "?")):
            continue
        whole = _whole(cut)
        if len(whole) > len(cut):
            return Answer(_from_sentence_start(whole, len(cut)))
    return Answer("That was all I wanted to say. What else can I do for you?")


def _whole(cut: str) -> str:
    """The full text of which a cut one is the beginning, where it is one of ours."""
    tail = cut[-40:]
    for topic in facts.TOPICS:
        at = topic.known.find(tail)
        if at >= 0:
            return cut + topic.known[at + len(tail) :]
    return cut


def _from_sentence_start(whole: str, position: int) -> str:
    """The text from the clause in which the cut fell."""
    starts = [match.end() for match in re.finditer(r"[.!?:,]\s+", whole[:position])]
    rest = whole[starts[-1] if starts else 0 :]
    return rest[0].upper() + rest[1:]
