"""Which agent answers a number, and the demonstration agent of an empty database."""

from __future__ import annotations

import re
from typing import NamedTuple

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

from calls.core.policy import AgentProfile, PolicyError
from calls.core.record import RecordError
from calls.models import Agent, AgentNumber, AgentVersion
from calls.models.agent import E164

_log = structlog.get_logger(__name__)

DEMO_NUMBER = "+15005550006"
_DEMO_TOOLS = ("book_table", "recall", "remember", "forget", "end_call")
DEMO_VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
DEMO_INSTRUCTIONS = """\
You are the receptionist of Bella Vista, a small Italian restaurant, and you are on the phone.

Speak as people do on the phone: one or two short sentences, no lists, no markup, numbers as words. Ask for one thing \
at a time. If you did not understand, say so and ask again. Never invent a fact; say that you will have somebody call back.

What you know:
- Open Tuesday to Sunday, noon to ten in the evening. Closed on Monday.
- Twelve Harbour Street, five minutes from the station; parking behind the house.
- Fresh pasta every day, a vegetarian and a vegan menu, gluten-free pasta on request. Dogs are welcome on the terrace.
- Tables for up to eight; larger parties are arranged with the owner by a call back.

To book a table you need the day, the time, the number of guests and a name. When you have all four, call book_table \
once, then repeat the booking in one sentence. Use the caller's name once you know it. When the caller has said \
goodbye, say goodbye and call end_call.

Some callers have called before; what is on file about them is shown to you. Serve them as somebody who remembers: think of \
what they cannot eat, offer what they usually have, but ask before you book what you only remember. When a caller refers to \
something earlier that you do not see, call recall. When they ask you to remember something, call remember with it. When \
they ask you to forget something, ask whether they are sure; when they are, call forget."""


class BusyAnswer(NamedTuple):
    """What a caller gets for whom there is no line: ``kind`` of ``Agent.BusyAnswer``."""

    kind: str = Agent.BusyAnswer.TONE
    forward_to: str = ""


class Answering(NamedTuple):
    """Who answers a number: the profile, its version's id, and what happens when no line is free."""

    profile: AgentProfile
    version_id: int
    busy: BusyAnswer


def agent_for_number(number: str) -> Answering | None:
    """Who answers this number; ``None`` if no active agent has it.

    Synchronous, two queries. A version that an older release wrote and this one cannot read is replaced by a new
    version of the agent as it is now.
    """
    if not re.fullmatch(E164, number):
        return None
    ours = AgentNumber.objects.filter(number=OuterRef("overflow_to"))
    found = Agent.objects.filter(numbers__number=number, is_active=True).annotate(in_circles=Exists(ours)).first()
    if found is None:
        return None
    agent: Agent = found
    busy = BusyAnswer(agent.busy_answer, agent.overflow_to)
    if busy.kind == Agent.BusyAnswer.FORWARD and (found.in_circles or not re.fullmatch(E164, busy.forward_to)):
        busy = BusyAnswer(Agent.BusyAnswer.PHRASE)
    version = agent.versions.order_by("-number").first() or agent.capture_version()
    try:
        return Answering(version.as_profile(), version.pk, busy)
    except (RecordError, PolicyError) as error:
        _log.warning("agent.version_unreadable", agent=agent.pk, version=version.number, error=str(error))
    version = agent.capture_version()
    return Answering(version.as_profile(), version.pk, busy)


def seed_demo_agent() -> AgentVersion | None:
    """Give an empty database the demonstration agent; ``None`` if there is any agent already."""
    with transaction.atomic():
        if Agent.objects.exists() or AgentNumber.objects.filter(number=DEMO_NUMBER).exists():
            return None
        agent = Agent.objects.create(
            name="Bella Vista",
            instructions=DEMO_INSTRUCTIONS,
            greeting="Bella Vista, good day! How can I help you?",
            returning_greeting="Bella Vista, welcome back, {name}! How can I help you?",
            voice=DEMO_VOICE,
            tools=list(_DEMO_TOOLS),
            idle_texts=["Are you still there?", "I'm still here if you need anything."],
            goodbye_text="I can't hear you any more, so I'll hang up now. Do call again. Goodbye!",
        )
        AgentNumber.objects.create(agent=agent, number=DEMO_NUMBER, note="Demonstration")
        return agent.versions.get()
