"""A request, understood: what was said last, what is known by now, what is remembered."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voiceagent.sandbox.openai.conversation import Conversation
from voiceagent.sandbox.persona import booking, facts, memory, slots
from voiceagent.sandbox.persona.memory import Memory
from voiceagent.sandbox.persona.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voiceagent.sandbox.openai.conversation import Call, Turn

_INTENTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("goodbye", r"\b(?:good ?bye|bye(?:[ -]bye)?|see you|have a (?:nice|good|great|lovely)|talk to you later|farewell)\b"),
        ("go_on", r"\b(?:go on|go ahead|carry on|continue|keep going|you were saying|what were you (?:saying|going to say)|and then|finish (?:your|the) sentence)\b"),
        ("repeat", r"\b(?:repeat|say (?:that|it) again|pardon|come again|didn't (?:catch|hear|understand)|what did you say|sorry\?$|excuse me\?)"),
        ("human", r"\b(?:real person|human|manager|owner|somebody else|speak (?:to|with) (?:a|the|some)|transfer|put me through)\b"),
        ("my_booking", r"\b(?:what did i (?:book|say)|my (?:booking|reservation)|when is (?:it|my)|what(?:'s| is) my name|who am i|remember (?:me|my name))\b"),
        ("identity", r"\b(?:who are you|are you (?:a )?(?:robot|machine|real|human|computer)|your name|who am i (?:speaking|talking))\b"),
        ("book", r"\b(?:book|reserve|reservation|booking|(?:have|get|need|want|like|take) (?:a|the) table|table for|come (?:in|over|by)|cook a table)\b"),
        ("change", r"\b(?:change|actually|instead|make (?:it|that)|rather|move it|correct(?:ion)?)\b"),
        ("deny", r"^\W*(?:no\b|nope|nothing|not really|that(?:'s| is| was| will be) (?:all|it|everything)|i'm (?:good|fine))"),
        ("done", r"\b(?:that(?:'s| is| was| will be) (?:all|it|everything)|nothing else)\b"),
        ("thanks", r"\b(?:thank you|thanks|cheers|much appreciated)\b"),
        ("affirm", r"^\W*(?:yes|yeah|yep|sure|of course|please|right|correct|exactly|okay|ok|perfect|great|lovely|sounds good)\b"),
        ("greeting", r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening|day))\b"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """A request, read."""

    conversation: Conversation
    said: str
    intents: frozenset[str]
    before: Slots
    slots: Slots
    today: dt.date
    memory: Memory
    wanted_before: bool

    @property
    def name(self) -> str:
        """``, Sarah`` or nothing."""
        return f", {self.slots.first_name}" if self.slots.first_name else ""

    @property
    def wants_table(self) -> bool:
        """Whether the caller has ever asked for a table."""
        return _wants_table(self.conversation.turns)

    @property
    def booked(self) -> Call | None:
        """The booking that stands, if one does."""
        found = booking.last_booking(self.conversation.turns)
        return found[0] if found and booking.went_well(found[1]) else None


def _wants_table(turns: tuple[Turn, ...]) -> bool:
    book = dict(_INTENTS)["book"]
    return any(book.search(turn.text) for turn in turns if turn.role == "user")


def read_scene(conversation: Conversation) -> Scene:
    """Understand a request."""
    instructions, remembered = memory.read(conversation.instructions)
    spoken = memory.agreed(conversation.turns, dict(_INTENTS)["affirm"])
    conversation = replace(conversation, instructions=instructions, turns=spoken)
    stated = facts.stated_date(conversation.instructions)
    today = dt.date.fromisoformat(stated) if stated else dt.datetime.now(tz=dt.UTC).astimezone().date()
    turns = conversation.turns
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
    # Several utterances in a row, with no answer between them, are one.
    first = last
    while first > 0 and turns[first - 1].role == "user":
        first -= 1
    said = " ".join(turn.text for turn in turns[max(first, 0) : last + 1] if turn.role == "user")
    known = facts.caller_name(conversation.instructions) or remembered.full_name or None
    before = slots.read(turns[: max(first, 0)], today, known)
    now = slots.read(turns[: last + 1], today, known)
    intents = frozenset(name for name, pattern in _INTENTS if pattern.search(said))
    if facts.topics_in(said) and not intents & {"book", "change"} and slots.asked_for(agent_said(turns)) is None:
        # "Are you open on Sunday?" books nothing.
        now = before if now.name == before.name else slots.Slots(before.party_size, before.date, before.time, now.name)
    wanted_before = _wants_table(turns[: max(first, 0)])
    return Scene(conversation, said, intents, before, now, today, remembered, wanted_before)


def agent_said(turns: tuple[Turn, ...]) -> str:
    """What the agent said last."""
    return next((turn.text for turn in reversed(turns) if turn.role == "assistant" and turn.text), "")


def join(parts: Iterable[str]) -> str:
    """Sentences as one text; empty ones are left out."""
    return " ".join(part.strip() for part in parts if part and part.strip())
