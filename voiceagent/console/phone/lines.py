"""What a test call may be: which line it dials, who calls, and the ticket that comes of it. Synchronous; for a thread."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from calls.agents import agent_for_number
from calls.core.policy import AgentProfile, PolicyError
from calls.core.record import RecordError
from calls.models import AgentVersion
from calls.selectors import answering_numbers
from memory import people
from memory.crypto import SealBroken
from memory.models import Caller
from voiceagent.console.masks import masked

#: What carriers send for a withheld number.
ANONYMOUS = "anonymous"
_MOST_FOUND = 10
#: Names are sealed, so they can only be looked through: the callers of late.
_LOOKED_THROUGH = 400


class NotPossible(ValueError):
    """No such line or caller; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Line:
    """Who will answer."""

    agent: AgentProfile
    version_id: int
    number: str


@dataclass(frozen=True, slots=True)
class Someone:
    """Who will call. ``reads_only``: nothing of the call is remembered."""

    number: str
    reads_only: bool


def choices(version: str = "") -> list[tuple[str, str]]:
    """The lines that can be called, as value and label; ``version`` of an agent, if there is one, goes first."""
    lines = [(number, f"{_apart(name)} · {number}") for number, name in answering_numbers()]
    wanted = _version(version)
    return (
        [(f"v{wanted.pk}", f"{_apart(wanted.profile.get('name', ''))}, version {wanted.number}"), *lines]
        if wanted
        else lines
    )


def line(value: str) -> Line:
    """The line of this value. Raises ``NotPossible``."""
    if value.startswith("v"):
        version = _version(value[1:])
        try:
            if version is not None:
                return Line(version.as_profile(), version.pk, f"client:version-{version.pk}")
        except (RecordError, PolicyError) as error:
            raise NotPossible(f"This version cannot be read by today's software: {error}.") from error
        raise NotPossible("There is no such version of an agent.")
    answering = agent_for_number(value)
    if answering is None:
        raise NotPossible("No active agent answers this number.")
    return Line(answering.profile, answering.version_id, value)


def someone(who: str, caller: str, user: Any) -> Someone:
    """Who calls: ``anonymous``, ``scratch`` (this operator's own caller, to try memory with), or ``caller``, whose memory is
    read and not written. Raises ``NotPossible``."""
    if who == "anonymous":
        return Someone(ANONYMOUS, reads_only=False)
    if who == "scratch":
        return Someone(f"client:operator-{user.pk}", reads_only=False)
    if who != "caller":
        raise NotPossible("Say who is calling.")
    try:
        person = people.by_id(caller)
        if person is None:
            raise NotPossible("Choose a caller from the list.")
        return Someone(people.number_of(person), reads_only=True)
    except SealBroken as error:
        raise NotPossible("This caller's records cannot be opened with the memory's key.") from error


def callers(words: str) -> list[dict[str, str]]:
    """Callers by the beginning of a name, or the last digits of a number; the latest first. Numbers are masked."""
    wanted = words.strip().casefold()
    digits = "".join(filter(str.isdigit, wanted))
    found: list[dict[str, str]] = []
    for row in Caller.objects.select_related("card").order_by("-last_seen_at", "-id")[:_LOOKED_THROUGH]:
        try:
            number, name = people.identity(row)
        except SealBroken:
            continue
        if not wanted or wanted in name.casefold() or (len(digits) >= 2 and number.endswith(digits)):
            found.append({"id": str(row.pk), "name": name, "number": masked(number)})
            if len(found) == _MOST_FOUND:
                break
    return found


def new_call_sid() -> str:
    """An id like the carrier's."""
    return f"CA{uuid.uuid4().hex}"


def _apart(name: str) -> str:
    """A name that turns no other text round: an option can hold no element that would see to it."""
    return f"\u2068{name}\u2069"


def _version(text: str) -> AgentVersion | None:
    return (
        AgentVersion.objects.filter(pk=int(text)).first()
        if text.isascii() and text.isdigit() and len(text) < 10
        else None
    )
