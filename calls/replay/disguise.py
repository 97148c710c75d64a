"""A recorded call with other words in it, which takes the same steps.

Every word, name and number is replaced by an invented one of the same length, the same one each time. Kept are case and
punctuation, single letters, abbreviations, and the words that the core knows: back-channels and its own phrases. Words are
invented in the order in which they occur, so nothing of a word but its length and its repetitions is left.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from calls.core.record import payload
from calls.replay.digest import StateDigest, layout_of
from calls.replay.log import CallRecord, Line, Step
from calls.replay.run import replay
from calls.replay.versions import Core, core_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Fields of events that steer the core or name a kind; none of them holds words of a person.
KEPT = frozenset(
    "AgentProfile.language TurnPolicy.endpointing TurnPolicy.chunking ToolSpec.name ToolSpec.effect CarrierGone.how "
    "EarFailed.kind ModelToolCall.name ModelFinished.reason ModelFailed.kind ModelFailed.endpoint ModelAttemptFailed.kind ModelAttemptFailed.endpoint ToolSettled.outcome VoiceFailed.kind "
    "Recalled.level Recalled.kind Recalled.why_not Recalled.role MemoryRecalled.outcome TimerFired.timer HangUpAsked.by OperatorSaid.when ErrorRaised.where ErrorRaised.error".split()
)
#: Fields that hold JSON: names and form stay, values are replaced.
JSON_VALUES = frozenset({"ModelToolCall.arguments", "ToolSettled.output"})
#: Fields that hold a JSON schema, and the names in it whose values are words for the model.
JSON_SCHEMAS = frozenset({"ToolSpec.parameters"})
SCHEMA_WORDS = frozenset({"description", "title", "examples", "default", "enum", "const"})
#: Pieces of one text are put together up to one of these, since a word may run across them.
PIECES, PIECES_END = "ModelText", frozenset({"ModelToolCall", "ModelFinished", "ModelFailed"})

#: Clock of the disguised call's first event, Unix ms.
WALL_MS = 1_700_000_000_000
NO_SID = "CA" + "0" * 32
_ATTEMPTS = 8
_INVENTIONS = 200

_WORD = re.compile(r"\w+(?:'\w+)*")
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_KEYS = re.compile(r"[0-9wW]+")
_ABBREVIATIONS = frozenset("mr mrs ms dr st no vs am pm".split())
_JSON = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|\d+')
_ESCAPE = re.compile(r"(\\u[0-9a-fA-F]{4}|\\.)")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


class DisguiseError(ValueError):
    """A record that cannot be disguised; the message says why."""


def disguised(record: CallRecord) -> CallRecord:
    """The same call in other words. Raises ``DisguiseError`` and ``UnknownVersion``.

    The commands are those that the core gives to the disguised events. Commands and states are as many, of the same kinds,
    with the same numbers and texts of the same lengths as before; every state has its digest.
    """
    taken: list[Taken] = []
    outcome = replay(record, lambda step, commands, after: taken.append((step, commands, after)))
    if not outcome.is_same:
        raise DisguiseError("it does not replay as it is: see what `manage.py replay` says")
    core = core_of(outcome.version)
    why = "it has no steps"
    for attempt in range(_ATTEMPTS if taken else 0):
        lines, why = _attempt(core, taken, Words(core.vocabulary, attempt), joined=attempt % 2 == 0)
        if not why:
            sid = next((line.data["call_sid"] for line in lines if line.type == "CallStarted"), NO_SID)
            return CallRecord(sid, tuple(lines), layout_of(core.state))
    raise DisguiseError(f"no other words take the same steps: {why}")


#: A step of the record, the commands that the core gave, and the state after.
Taken = tuple[Step, tuple[Any, ...], Any]


def _attempt(core: Core, taken: list[Taken], words: Words, *, joined: bool) -> tuple[list[Line], str]:
    """The lines with these words, or why they take other steps."""
    lines: list[Line] = []
    state, digest = core.state(), StateDigest(core.state, layout_of(core.state))
    events = other_words([core.event_from(step.event.data) for step, _, _ in taken], words, joined=joined)
    for event, (step, commands, after) in zip(events, taken, strict=True):
        state, given = core.step(state, event)
        if not (_alike(payload(given), payload(commands)) and _alike(_told(state), _told(after))):
            return [], f"step {step.event.step} becomes another one"
        for place, value in enumerate((event, *given)):
            old = (step.event, *step.commands)[place]
            signed = "" if place else digest.of(state)
            data = json.loads(core.dumps(value))
            lines.append(replace(old, data=data, wall_ms=WALL_MS + old.at_ms, digest=signed, error=""))
    return lines, ""


def _told(state: Any) -> dict[str, Any]:
    """All of a state but the agent, which stands in the first event."""
    return {field.name: payload(getattr(state, field.name)) for field in fields(state) if field.name != "agent"}


def _alike(one: Any, other: Any) -> bool:
    """Whether these differ in nothing but the letters of texts."""
    if isinstance(one, str) and isinstance(other, str):
        return len(one) == len(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def other_words(events: list[Any], words: Words, *, joined: bool = True) -> list[Any]:
    """Events in other words. ``joined``: a word may run across pieces of a text; else a piece ends its words, as it did
    for a voice that was quicker than the next piece.
    """
    texts = _whole_texts(events, words) if joined else {}
    return [
        replace(event, text=texts[place]) if place in texts else _other(event, "", words)
        for place, event in enumerate(events)
    ]


def _whole_texts(events: list[Any], words: Words) -> dict[int, str]:
    """The pieces of streamed texts in other words, by the places of their events."""
    found: dict[int, str] = {}
    streams: dict[tuple[int, int], list[int]] = {}

    def end(places: list[int]) -> None:
        new, at = words.text("".join(events[place].text for place in places)), 0
        for place in places:
            found[place] = new[at : at + len(events[place].text)]
            at += len(events[place].text)

    for place, event in enumerate(events):
        kind = type(event).__name__
        if kind == PIECES:
            streams.setdefault((event.turn, event.epoch), []).append(place)
        elif kind in PIECES_END:
            end(streams.pop((event.turn, event.epoch), []))
    for places in streams.values():
        end(places)
    return found


def _other(value: Any, field: str, words: Words) -> Any:
    """A value of an event, found in ``field`` (``Class.name``), in other words."""
    if isinstance(value, tuple):
        return tuple(_other(item, field, words) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        return replace(
            value, **{f.name: _other(getattr(value, f.name), f"{name}.{f.name}", words) for f in fields(value)}
        )
    if not isinstance(value, str) or field in KEPT:
        return value
    if field in JSON_VALUES:
        return words.json(value)
    return words.json(value, SCHEMA_WORDS) if field in JSON_SCHEMAS else words.text(value)


class Words:
    """Invented words, each once, always for the same word."""

    def __init__(self, vocabulary: Iterable[str], seed: int = 0) -> None:
        self._kept = {match.lower() for text in vocabulary for match in _WORD.findall(text)} | _ABBREVIATIONS
        self._seed = seed
        self._known: dict[tuple[str, int], str] = {}
        self._taken: set[str] = set()
        self._drawn = 0

    def text(self, text: str) -> str:
        """A text in other words; as long as before."""
        return _WORD.sub(lambda match: self._word(match.group()), text)

    def json(self, text: str, only: frozenset[str] | None = None) -> str:
        """JSON with other values, or only those with these names; what is no JSON is a text."""
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return self.text(text)
        name = ""

        def other(match: re.Match[str]) -> str:
            nonlocal name
            if match[2] is not None:
                name = match[1]
            elif only is None or name in only:
                return self._value(match)
            return match.group()

        return _JSON.sub(other, text)

    def _value(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return self._word(match.group())
        return '"' + "".join(x if at % 2 else self.text(x) for at, x in enumerate(_ESCAPE.split(match[1]))) + '"'

    def _word(self, word: str) -> str:
        if word.lower() in self._kept or (len(word) == 1 and not word.isdecimal()):
            return word
        key = word.lower(), len(word)
        if key not in self._known:
            self._known[key] = self._invented(word)
        return "".join(new.upper() if old.isupper() else new for old, new in zip(word, self._known[key], strict=True))

    def _invented(self, word: str) -> str:
        for _ in range(_INVENTIONS):
            new = "".join(self._characters(word))
            if new not in self._taken and new not in self._kept and new != word.lower():
                break
        self._taken.add(new)
        return new

    def _characters(self, word: str) -> Iterator[str]:
        is_sid, is_keys = _SID.fullmatch(word) is not None, _KEYS.fullmatch(word) is not None
        for place, old in enumerate(word):
            if (is_sid and place < 2) or (is_keys and old.isalpha()):
                yield old.lower()
            elif is_sid:
                yield self._one_of("0123456789abcdef")
            elif old.isdecimal():
                yield old if place == 0 and old == "0" else self._one_of("0123456789"[place == 0 :])
            elif old.isalpha():
                yield self._one_of((_CONSONANTS, _VOWELS)[place % 2])
            else:
                yield old

    def _one_of(self, letters: str) -> str:
        self._drawn += 1
        drawn = blake2b(f"{self._seed}:{self._drawn}".encode(), digest_size=4).digest()
        return letters[int.from_bytes(drawn) % len(letters)]
