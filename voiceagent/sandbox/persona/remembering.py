"""The part of a conversation that is about memory: what to note, to forget, to tell of what is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from voiceagent.sandbox.openai.conversation import Answer
from voiceagent.sandbox.persona import booking, facts, memory
from voiceagent.sandbox.persona.memory import Fact, Memory
from voiceagent.sandbox.persona.scene import join

if TYPE_CHECKING:
    from voiceagent.sandbox.openai.conversation import Call
    from voiceagent.sandbox.persona.scene import Scene

_NO_NOTE = "I'm sorry, I have no note of that."
_NO_MEMORY = "I'm sorry, I can't keep notes about callers on this line."
_OF_THE_CALLER = re.compile(r"\b(?:about|remember|know|have on) me\b", re.I)


def about_memory(scene: Scene) -> Answer | None:
    """What the caller wants remembered, forgotten or told of what is remembered; ``None`` where it is something else."""
    talk, said = scene.conversation, scene.said
    if (what := memory.confirmed_forgetting(talk.turns)) and scene.intents & {"affirm", "deny"}:
        tool = memory.tool(talk, "forget")
        if "deny" in scene.intents or tool is None:
            return Answer("All right, I'll keep it. What else can I do for you?")
        return Answer("", (memory.call(tool, what),))
    if what := memory.to_forget(said):
        return Answer(memory.confirm_forgetting(what) if memory.tool(talk, "forget") else _NO_MEMORY)
    if what := memory.to_remember(said):
        tool = memory.tool(talk, "remember")
        return Answer("Of course.", (memory.call(tool, what),)) if tool else Answer(_NO_MEMORY)
    if memory.asks_back(said):
        return _tell(scene)
    is_own = memory.may_ask_back(said) and scene.booked is None
    if is_own and facts.topics_in(said):
        is_own = re.search(r"\bmy\b", said, re.I) is not None
    found = scene.memory.about(said) if is_own else []
    tool = memory.tool(talk, "recall")
    if is_own and not found and tool is not None and re.search(r"\bmy (?!name\b|booking\b|reservation\b)", said, re.I):
        return Answer("", (memory.call(tool, said),))
    return Answer(memory.told(found)) if found else None


def _tell(scene: Scene) -> Answer | None:
    """The caller asks for what we remember: say it, look it up, or say that there is nothing."""
    found = scene.memory.about(scene.said)
    if _OF_THE_CALLER.search(scene.said):
        found = [fact for fact in scene.memory.facts if not fact.is_private]
    if found:
        return Answer(memory.told(found))
    tool = memory.tool(scene.conversation, "recall")
    if "my_booking" in scene.intents and scene.booked is not None:
        return None
    return Answer("Let me see.", (memory.call(tool, scene.said),)) if tool else Answer(_NO_NOTE)


def after_memory(scene: Scene, kind: str, call: Call, result: str) -> Answer | None:
    """What a function of the memory came to; ``None`` where it was looked at in vain for a question that may mean us."""
    if kind == "recall":
        found = Memory(facts=memory.found_in(result))
        best = found.about(scene.said) or list(found.facts)
        if best:
            return Answer(memory.told(best))
        return Answer(f"{_NO_NOTE} Is there anything else I can do for you?") if memory.asks_back(scene.said) else None
    if not booking.went_well(result):
        return Answer(_NO_MEMORY if kind == "remember" else _NO_NOTE)
    if kind == "remember":
        what = memory.spoken(Fact(booking.first_text(call)))
        return Answer(f"I'll remember that {what}. Is there anything else?")
    return Answer("It's forgotten. Is there anything else?" if booking.status_of(result) == "forgotten" else _NO_NOTE)


def from_memory(scene: Scene) -> str:
    """What is usual for this caller, said once, when they begin to ask for a table."""
    if scene.wanted_before or "book" not in scene.intents:
        return ""
    seat, needs = memory.usual_seat(scene.memory), memory.needs(scene.memory)
    parts = [f"Your usual table {seat}, I take it." if seat else "", f"And I know that {needs}." if needs else ""]
    return join(parts)
