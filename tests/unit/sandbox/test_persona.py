"""The receptionist works only from a request: each test hands it a history as the product would."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from voiceagent.sandbox.openai.conversation import Answer, Call, Conversation, Tool, Turn
from voiceagent.sandbox.persona import facts, respond, slots, words

TODAY = dt.date(2026, 11, 23)  # a Monday
HOUSE = (
    "You are the receptionist of Bella Vista, a small Italian restaurant. Today is 2026-11-23.\n"
    "- Open Tuesday to Sunday, noon to ten in the evening. Closed on Monday.\n"
    "- Twelve Harbour Street, five minutes from the station; parking behind the house.\n"
    "- A vegetarian and a vegan menu, gluten-free pasta on request. Dogs are welcome on the terrace."
)


def schema(**kinds: str) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in kinds.items()}
    return {"type": "object", "properties": properties, "required": list(kinds)}


BOOK = Tool("book_table", "", schema(name="string", party_size="integer", date="string", time="string"))
END = Tool("end_call", "", schema())


class Talk:
    """A conversation in which functions always succeed, unless told what they return."""

    def __init__(self, instructions: str = HOUSE, tools: tuple[Tool, ...] = (BOOK, END)) -> None:
        self.instructions, self.tools = instructions, tools
        self.turns: list[Turn] = [Turn("assistant", "Bella Vista, good day! How can I help you?")]
        self.calls: list[Call] = []
        self.result = json.dumps({"status": "booked"})

    def ask(self) -> Answer:
        return respond(Conversation(self.instructions, tuple(self.turns), self.tools))

    def say(self, text: str) -> str:
        self.turns.append(Turn("user", text))
        said = ""
        while True:
            answer = self.ask()
            said = f"{said} {answer.text}".strip()
            calls = tuple(Call(c.name, c.arguments, f"call{len(self.turns)}") for c in answer.calls)
            self.turns.append(Turn("assistant", answer.text, calls))
            self.calls += calls
            if not calls or calls[0].name == "end_call":
                return said
            self.turns.append(Turn("tool", self.result, call_id=calls[0].call_id))

    def booked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(c for c in reversed(self.calls) if c.name != "end_call").arguments)
        return found


def test_a_booking_in_one_breath_and_a_name() -> None:
    talk = Talk()
    assert "name" in talk.say("Hi, I'd like to book a table for four people on Friday at 730 in the evening. Please.")
    said = talk.say("My name is Sarah Miller.")
    assert talk.booked() == {"name": "Sarah Miller", "party_size": 4, "date": "2026-11-27", "time": "19:30"}
    assert "Sarah" in said
    assert "half past seven" in said


def test_a_booking_piece_by_piece_with_misheard_numbers() -> None:
    talk = Talk()
    assert "how many" in talk.say("Can I reserve a table?").lower()
    assert "day" in talk.say("For.")
    assert "time" in talk.say("Saturday.")
    assert "name" in talk.say("At 8.")
    talk.say("Smith.")
    assert talk.booked() == {"name": "Smith", "party_size": 4, "date": "2026-11-28", "time": "20:00"}
    talk.say("Actually make it five people.")
    assert talk.booked()["party_size"] == 5
    assert len(talk.calls) == 2


def test_one_booking_is_made_once() -> None:
    talk = Talk()
    talk.say("A table for two tomorrow at half past eight under the name of O'Brien, please.")
    talk.say("Where are you?")
    talk.say("Thank you very much.")
    assert len(talk.calls) == 1


def test_the_functions_own_argument_names_and_types_are_used() -> None:
    odd = Tool(
        "make_reservation",
        "",
        schema(guests="string", day="string", hour="string", customer_name="string", vip="boolean"),
    )
    talk = Talk(tools=(odd,))
    talk.say("Please book a table for three on Friday at seven, my name is Lee.")
    wanted = {"guests": "3", "day": "2026-11-27", "hour": "19:00", "customer_name": "Lee", "vip": False}
    assert talk.booked() == wanted


def test_a_failed_booking_is_not_confirmed() -> None:
    talk = Talk()
    talk.result = json.dumps({"error": "no table is available at that time"})
    said = talk.say("Book a table for two tomorrow at eight, my name is Anna.")
    assert "taken" in said
    assert "booked" not in said


def test_the_house_is_closed_on_mondays() -> None:
    talk = Talk()
    assert "closed on Mondays" in talk.say("I'd like a table for three next Monday at seven.")
    assert not talk.calls


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("Are you open on Sunday?", "Tuesday to Sunday"),
        ("Where are you?", "Harbour Street"),
        ("Is their parking nearby?", "parking behind the house"),
        ("Do you have vegetarian dishes?", "vegetarian"),
        ("Can I bring my dog?", "Dogs are welcome"),
        ("I have a nut allergy.", "allergies"),
        ("What's on the menu?", "tagliatelle"),
    ],
)
def test_questions_are_answered_from_the_instructions(question: str, word: str) -> None:
    talk = Talk()
    assert word in talk.say(question)
    assert not talk.calls


def test_a_question_about_a_day_books_nothing() -> None:
    talk = Talk()
    talk.say("I'd like to book a table for two on Friday.")
    talk.say("Are you open on Sundays?")
    talk.say("At eight, my name is Kim.")
    assert talk.booked()["date"] == "2026-11-27"


def test_the_name_is_remembered_and_used_at_the_goodbye() -> None:
    talk = Talk()
    talk.say("Hello, this is Peter.")
    assert "Peter" in talk.say("What's my name?")
    assert "Peter" in talk.say("Thanks. Bye bye.")
    assert [call.name for call in talk.calls] == ["end_call"]


def test_a_known_caller_is_not_asked_for_the_name() -> None:
    talk = Talk(HOUSE + "\nThe caller's name is Maria Rossi.")
    talk.say("A table for two tomorrow at eight, please.")
    assert talk.booked()["name"] == "Maria Rossi"


def test_a_cut_sentence_is_continued() -> None:
    whole = next(topic.known for topic in facts.TOPICS if topic.name == "menu")
    cut = whole[:95]
    turns = (Turn("user", "What's on the menu?"), Turn("assistant", cut), Turn("user", "Sorry, please go on."))
    said = respond(Conversation(HOUSE, turns)).text
    assert said.endswith(whole[120:])
    assert len(said) < len(whole)


def test_without_a_function_to_end_the_call_there_is_only_a_goodbye() -> None:
    answer = Talk(tools=()).ask()
    assert answer.calls == ()
    assert respond(Conversation(HOUSE, (Turn("user", "Goodbye."),))).calls == ()


def test_another_kind_of_agent_answers_from_its_own_instructions() -> None:
    talk = Talk("You are the assistant of Northwind Dental.\n- Doctor Lee works on Tuesdays.", (END,))
    assert "Tuesdays" in talk.say("When does Doctor Lee work?")
    assert "table" not in talk.say("I have a question about my bill.")
    talk.say("Goodbye.")
    assert [call.name for call in talk.calls] == ["end_call"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at seven thirty", dt.time(19, 30)), ("half past seven", dt.time(19, 30)), ("7.30 p.m.", dt.time(19, 30)),
        ("at 730", dt.time(19, 30)), ("quarter to eight", dt.time(19, 45)), ("eight o'clock", dt.time(20, 0)),
        ("19:15", dt.time(19, 15)), ("at noon", dt.time(12, 0)), ("nine in the morning", dt.time(9, 0)),
        ("seven forty-five", dt.time(19, 45)), ("for four people", None), ("at nine twenty", dt.time(21, 20)),
    ],
)  # fmt: skip
def test_times(text: str, expected: dt.time | None) -> None:
    assert words.find_time(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tomorrow", dt.date(2026, 11, 24)), ("tonight", TODAY), ("the day after tomorrow", dt.date(2026, 11, 25)),
        ("this Friday", dt.date(2026, 11, 27)), ("on Monday", dt.date(2026, 11, 30)), ("the 24th", dt.date(2026, 11, 24)),
        ("the fourth of May", dt.date(2027, 5, 4)), ("December 24th", dt.date(2026, 12, 24)), ("for two", None),
        ("the thirty-first of February", None),
    ],
)  # fmt: skip
def test_dates(text: str, expected: dt.date | None) -> None:
    assert words.find_date(text, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("a table for four at eight", False, 4), ("we are six", False, 6), ("a party of twelve", False, 12),
        ("table for seven thirty", False, None), ("to people", False, 2), ("Just me and my wife.", False, 2), ("to", True, 2),
        ("five", True, 5), ("at five", False, None),
    ],
)  # fmt: skip
def test_party_sizes(text: str, asked: bool, expected: int | None) -> None:
    assert slots.find_party(text, asked) == expected


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("My name is Sarah Miller.", False, "Sarah Miller"), ("It's Peter.", True, "Peter"), ("smith", True, "Smith"),
        ("I'm looking for a table", False, None), ("What is on your menu?", True, None), ("M-I-L-L-E-R", True, "Miller"),
        ("Yes, sure. Jones, please.", True, "Jones"), ("under the name of Mrs. Green, please", False, "Mrs Green"),
    ],
)  # fmt: skip
def test_names(text: str, asked: bool, expected: str | None) -> None:
    assert slots.find_name(text, asked) == expected
