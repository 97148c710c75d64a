"""The agents of the demonstration: what they are told, and how each changed over the month. Data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from calls.agents import DEMO_INSTRUCTIONS, DEMO_VOICE
from voiceagent.sandbox.script import LlmSettings, Reply, Rule, ToolCall

#: Written behind the name of every agent of the demonstration.
SUFFIX = " (demo)"


@dataclass(frozen=True, slots=True)
class Version:
    """How an agent was from ``days_ago`` on: fields of ``calls.models.Agent``, over those of the version before."""

    days_ago: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """An agent with its number, its versions in order, and what its model answers by rule."""

    key: str
    name: str
    number: str
    versions: tuple[Version, ...]
    rules: LlmSettings = field(default_factory=LlmSettings)


def _rule(contains: str, text: str, *tools: str, after_tool: bool | None = False) -> Rule:
    return Rule(
        contains=contains,
        reply=Reply(text=text, tool_calls=[ToolCall(name=name) for name in tools]),
        after_tool=after_tool,
    )


def _rules(*rules: Rule) -> LlmSettings:
    return LlmSettings(rules=list(rules))


_TABLE_TOOLS = ["book_table", "recall", "remember", "forget", "transfer_call", "end_call"]
_DESK_TOOLS = ["recall", "remember", "forget", "transfer_call", "end_call"]

AGENTS: tuple[DemoAgent, ...] = (
    DemoAgent(
        "restaurant",
        "Trattoria Luna" + SUFFIX,
        "+12125550100",
        (
            Version(
                30,
                {
                    "instructions": DEMO_INSTRUCTIONS.replace("Bella Vista", "Trattoria Luna"),
                    "greeting": "Trattoria Luna, good day! How can I help you?",
                    "voice": DEMO_VOICE,
                    "tools": _TABLE_TOOLS,
                    "transfer_to": "+12125550199",
                    "idle_texts": ["Are you still there?", "I'm still here if you need anything."],
                    "goodbye_text": "I can't hear you any more, so I'll hang up now. Do call again. Goodbye!",
                },
            ),
            Version(
                19,
                {"returning_greeting": "Trattoria Luna, welcome back, {name}! How can I help you?"},
            ),
            Version(
                8,
                {
                    "greeting": "Trattoria Luna, hello! What can I do for you?",
                    "policy": {"verdict_ms": 1300, "first_token_ms": 4000, "patience_ms": 2000},
                },
            ),
        ),
    ),
    DemoAgent(
        "dentist",
        "Harbour Dental" + SUFFIX,
        "+16175550110",
        (
            Version(
                30,
                {
                    "instructions": (
                        "You are the receptionist of Harbour Dental, a dental practice, on the phone. Short sentences, one "
                        "question at a time. Never give medical advice; pain is put through to the nurse. Open Monday to "
                        "Friday, eight to five. Seven Dock Street, second floor, with a lift."
                    ),
                    "greeting": "Harbour Dental, good day. What can I do for you?",
                    "voice": DEMO_VOICE,
                    "tools": _DESK_TOOLS,
                    "transfer_to": "+16175550119",
                },
            ),
            Version(
                12,
                {"returning_greeting": "Harbour Dental, good to hear you again, {name}. What can I do for you?"},
            ),
        ),
        _rules(
            _rule("hurts", "I'm sorry to hear that. I'll put you through to our nurse right away.", "transfer_call"),
            _rule("check-up", "Gladly. I have Tuesday at nine or Thursday at half past two. Which suits you better?"),
            _rule("thursday", "Thursday at half past two, then. Under what name shall I put it?"),
            _rule("tuesday", "Tuesday at nine it is. Under what name shall I put it?"),
            _rule("cancel", "No problem, I've cancelled it. Would you like a new appointment?"),
            _rule(
                "cost",
                "A check-up is ninety dollars, and with cleaning it is one hundred and forty. Your insurer may pay "
                "a part of it, and we will gladly send them the bill if you bring your card along.",
            ),
            _rule("open", "We're open Monday to Friday, eight to five."),
        ),
    ),
    DemoAgent(
        "support",
        "Northline Support" + SUFFIX,
        "+442079460120",
        (
            Version(
                30,
                {
                    "instructions": (
                        "You are the first line of support of Northline, an internet provider. Ask what is wrong, go through "
                        "the steps one at a time, and put callers through to a technician when three steps did not help."
                    ),
                    "greeting": "Northline support, hello. What's the matter with your line?",
                    "voice": DEMO_VOICE,
                    "tools": _DESK_TOOLS,
                    "transfer_to": "+442079460129",
                    "policy": {"idle_ms": 12000},
                },
            ),
            Version(5, {"policy": {"idle_ms": 15000, "filler_ms": 1800}}),
        ),
        _rules(
            _rule(
                "internet",
                "Let's have a look together. Is the light on your router green, red, or is there none at all?",
            ),
            _rule(
                "red",
                "A red light means that the router cannot reach us. Please unplug it, wait for half a minute, and plug "
                "it in again. It needs about two minutes to start. Tell me when the light is on again, and which colour it has.",
            ),
            _rule(
                "still",
                "I see. Then please press the small button on its back for five seconds, until the light blinks.",
            ),
            _rule("blinks", "Good. It loads its settings now, which takes a minute. I'll wait with you."),
            _rule("green", "Wonderful, then you're back online. Is there anything else I can do?"),
            _rule(
                "slow",
                "I'm measuring your line from here. It looks clean: the slow part is most likely the wireless. Which "
                "room is the router in?",
            ),
            _rule("bill", "Your last bill was forty-one pounds and twenty pence, and it is due on the fifteenth."),
            _rule("technician", "Of course. I'll put you through to a technician.", "transfer_call"),
        ),
    ),
    DemoAgent(
        "hotel",
        "Hotel Lindenhof" + SUFFIX,
        "+441632960130",
        (
            Version(
                24,
                {
                    "instructions": "Sie sind die Rezeption des Hotels Lindenhof am Telefon. Kurze Sätze, eine Frage nach der anderen.",
                    "greeting": "Hotel Lindenhof, guten Tag! Was darf ich für Sie tun?",
                    "voice": DEMO_VOICE,
                    "language": "de",
                    "tools": ["end_call"],
                    "idle_texts": ["Sind Sie noch da?"],
                    "goodbye_text": "Ich höre Sie leider nicht mehr und lege jetzt auf. Auf Wiederhören!",
                },
            ),
        ),
        _rules(
            _rule("zimmer", "Sehr gern. Für wie viele Nächte und wie viele Personen darf es sein?"),
            _rule(
                "nächte", "Da habe ich ein Doppelzimmer zum Garten für einhundertzwanzig Euro. Darf ich es eintragen?"
            ),
            _rule("ja", "Wunderbar, das Zimmer ist für Sie eingetragen. Kann ich noch etwas für Sie tun?"),
            _rule("frühstück", "Frühstück gibt es von sieben bis halb elf, am Wochenende bis elf."),
            _rule("wiederhören", "Auf Wiederhören, und danke für Ihren Anruf!", "end_call"),
        ),
    ),
)

BY_KEY = {agent.key: agent for agent in AGENTS}
