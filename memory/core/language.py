"""The shape of a language's rules: what ``memory.core.rules`` runs and ``memory.core.english`` fills in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """How much a caller wants forgotten. ``NOTHING`` is a use of the word that asks for nothing ("don't forget")."""

    NOTHING = "nothing"
    LAST = "last"
    SLOT = "slot"
    TOPIC = "topic"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to say one thing. ``slot`` may hold ``{who}`` and ``{what}``, filled by the groups of those names.

    ``value`` is the value where the pattern has no group ``v``. ``asked``: only as the answer to the question for this
    slot; ``corrects``: only where the agent has just said back a value of this slot. ``retracts``: it is true no more.
    """

    slot: str
    pattern: re.Pattern[str]
    firm: float = 0.9
    value: str = ""
    asked: bool = False
    retracts: bool = False
    corrects: bool = False


@dataclass(frozen=True, slots=True)
class Forgetting:
    """One way to ask for forgetting; group ``v`` is what."""

    scope: Scope
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Language:
    """All that the rule extractor needs of a language.

    ``blanked``: stretches that are not the caller's own statement. ``void``: words that void the whole utterance.
    ``question``: how a question begins; ``inverted``: where one begins inside a sentence; ``resumes``: where a statement
    follows a question. ``hedge``: words that make a statement less firm. ``remember``: an explicit request, ``v`` what.
    ``asked``: how the agent asks for a slot; ``echoed``: how it says a value back. ``canonical``: which of two words for one
    relation or thing names the slot. ``called``: how callers call a slot,
    names separated by ``|``.
    """

    rules: tuple[Rule, ...]
    blanked: tuple[re.Pattern[str], ...]
    void: tuple[re.Pattern[str], ...]
    question: re.Pattern[str]
    hedge: re.Pattern[str]
    remember: re.Pattern[str]
    inverted: re.Pattern[str]
    resumes: re.Pattern[str]
    asked: Mapping[str, re.Pattern[str]]
    canonical: Mapping[str, str]
    echoed: Mapping[str, re.Pattern[str]]
    forgets: tuple[Forgetting, ...]
    called: Mapping[str, str]
