"""What a request shows of the caller's memory, and how one speaks of it on the phone.

Memory comes as lines of JSON among the instructions: a card with a ``name`` and ``notes``, and what was recalled for the
last utterance, each with its ``text``. It is data: read for facts, never followed.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from voiceagent.sandbox.openai.conversation import Call
from voiceagent.sandbox.persona.words import MONTHS, ORDINALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from voiceagent.sandbox.openai.conversation import Conversation, Tool, Turn


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known of the caller. ``label`` is the heading under which it stands, ``said_at`` an ISO day, or empty."""

    text: str
    label: str = ""
    said_at: str = ""

    @property
    def is_private(self) -> bool:
        """Whether it is only for those who ask."""
        return "unasked" in self.label


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of the caller: what was recalled for the last utterance first, then the card."""

    name: str = ""
    facts: tuple[Fact, ...] = ()

    def about(self, question: str) -> list[Fact]:
        """The facts that share most words with a question."""
        wanted = _stems(question)
        scores = {fact: len(wanted & _stems(f"{fact.label} {fact.text}")) for fact in self.facts}
        notes = [fact for fact in self.facts if fact.label not in _AT_LENGTH]
        best, best_note = (max((scores[fact] for fact in some), default=0) for some in (self.facts, notes))
        # What was said at length shares more words with any question than a note that answers it.
        if best_note and best_note >= best - 1:
            return [fact for fact in notes if scores[fact] == best_note]
        return [fact for fact in self.facts if best and scores[fact] == best]

    @property
    def full_name(self) -> str:
        """The caller's name as far as it is known."""
        named = (match[1] for fact in self.facts if (match := _NAME.match(fact.text)))
        return next(named, self.name)

    def find(self, pattern: re.Pattern[str]) -> Fact | None:
        """The first fact that may be mentioned unasked and fits."""
        return next((fact for fact in self.facts if not fact.is_private and pattern.search(fact.text)), None)


#: What was said at length: told where there is no note that says it.
_AT_LENGTH = frozenset({"utterance", "summary", "last call"})
_NAME = re.compile(r"(?:the caller's )?name(?: is|:)\s+(.+?)\.?$", re.I)


def read(instructions: str) -> tuple[str, Memory]:
    """Instructions without the lines of the memory, and the memory."""
    kept: list[str] = []
    name, card, recalled = "", list[Fact](), list[Fact]()
    for line in instructions.splitlines():
        value = _object(line)
        if value is not None and "notes" in value:
            name = str(value.get("name") or "")
            card += [fact for fact in _facts(value["notes"], "") if fact.text]
        elif value is not None and isinstance(value.get("text"), str):
            if "by" not in value:  # what we said ourselves is no source
                recalled.append(Fact(value["text"], str(value.get("kind", "")), str(value.get("said_at", ""))[:10]))
        elif "quoted data" not in line:
            kept.append(line)
    return "\n".join(kept).rstrip(), Memory(name, (*recalled, *card))


def _object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _facts(value: Any, label: str) -> Iterator[Fact]:
    """Every text in nested values, under its heading. A ``date`` beside texts is theirs."""
    if isinstance(value, str):
        yield Fact(value, label)
    elif isinstance(value, list):
        for item in value:
            yield from _facts(item, label)
    elif isinstance(value, dict):
        day = str(value.get("date") or "")
        for name, item in value.items():
            if name != "date":
                yield from (replace(fact, said_at=fact.said_at or day) for fact in _facts(item, name))


_STOP = frozenset(
    "a an and are as at be been can caller could did do does for from had has have how i in is it know me my of on or our please remember "
    "said say tell that the then there this time to told was we were what when where which who will with would you your".split()
)


def _stems(text: str) -> set[str]:
    words = re.findall(r"[a-zà-ÿ0-9]+", text.lower().replace("'", ""))
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word) for word in words if word not in _STOP and len(word) > 2}


# --- as one says it ---------------------------------------------------------------------------------------------------

#: How a note begins, and how one says it to the caller; the first that fits.
_SPOKEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), said)
    for pattern, said in (
        (r"^(?:the caller is |is )?allergic to (.+)", r"you're allergic to \1"),
        (r"^(?:the caller )?does(?:n't| not) (.+)", r"you don't \1"),
        (r"^likes to sit: (window|bar|corner|booth)$", r"you like to sit by the \1"),
        (r"^likes to sit: (.+)", r"you like to sit \1"),
        (r"^favou?rite ([^:]+): (.+)", r"your favourite \1 is \2"),
        (r"^best reached: (.+)", r"you're best reached \1"),
        (r"^needs: (.+)", r"you need \1"),
        (r"^(?:the caller )?(?:is|was) (.+)", r"you're \1"),
        (r"^(?:the caller )?has (.+)", r"you have \1"),
        (
            r"^(?:the caller )?(usually |always |never )?(like|want|prefer|come|work|live|speak|need)s (.+)",
            r"you \1\2 \3",
        ),
        (r"^never (.+)", r"we must never \1"),
        (r"^will (.+)", r"you will \1"),
        (r"^asked for (.+)", r"you asked for \1"),
        (r"^telephone: (.+)", r"your number is \1"),
        (r"^([a-z][a-z ]{2,30}): (.+)", r"your \1 is \2"),
    )
)
_SWAPPED = {
    "i": "you", "i'm": "you're", "i've": "you've", "i'd": "you'd", "i'll": "you'll", "am": "are", "me": "you", "my": "your",
    "mine": "yours", "myself": "yourself", "was": "were", "he": "you", "his": "your", "her": "your", "she": "you",
}  # fmt: skip
_MY = re.compile(r"^(?:i|i'm|i've|my|we)\b", re.I)


def spoken(fact: Fact) -> str:
    """A fact as a clause to the caller: ``you're allergic to nuts``."""
    text = (to_remember(fact.text) or fact.text).strip().rstrip(".!?")
    text = re.sub(r"\bthe caller's\b", "your", text, flags=re.I)
    if _MY.match(text):
        return " ".join(_SWAPPED.get(word.lower(), word) for word in text.split())
    for pattern, said in _SPOKEN:
        if pattern.match(text):
            return " ".join(pattern.sub(said, text[0].lower() + text[1:]).split())
    text = re.sub(r"^the caller\b", "you", text, flags=re.I)
    return text[0].lower() + text[1:] if text[:2].istitle() and text.split()[0].lower() in _COMMON else text


_COMMON = frozenset("a an the your you they there it this that his her".split())


def told(facts: Iterable[Fact]) -> str:
    """Up to two facts in a sentence, with the day of the first where it is known."""
    found = list(facts)[:2]
    day = _day(found[0].said_at)
    heard = "As I have it" if found[0].label in ("last call", "summary") else "You told me"
    if heard == "As I have it":
        return f"{heard} from your last call{day}: {found[0].text.rstrip('.')}."
    return f"{heard}{day} that {' and that '.join(dict.fromkeys(spoken(fact) for fact in found))}."


def _day(said_at: str) -> str:
    try:
        day = dt.date.fromisoformat(said_at)
    except ValueError:
        return ""
    ordinal = next(word for word, value in ORDINALS.items() if value == day.day)
    return f" on the {ordinal} of {MONTHS[day.month - 1].capitalize()}"


_NEEDS = re.compile(
    r"\b(?:allerg|does(?:n't| not) eat|vegetarian|vegan|gluten|coeliac|celiac|halal|kosher|wheelchair|needs:)", re.I
)
_SEAT = re.compile(r"\b(?:window|terrace|outside|quiet|corner|booth|bar|garden)\b", re.I)
_SITS = re.compile(r"\b(?:sit|seat|table|likes)\b", re.I)
_PARTY = re.compile(r"\b(?:party|table|comes?) (?:of|for|with) (?:a party of )?([a-z]+|\d+)\b", re.I)


_PLACES = {
    "outside": "outside",
    "terrace": "on the terrace",
    "garden": "in the garden",
    "corner": "in the corner",
    "quiet": "in the quiet corner",
}


def usual_seat(memory: Memory) -> str:
    """Where the caller likes to sit: ``by the window``; empty where that is not known."""
    fact = next((fact for fact in memory.facts if _SEAT.search(fact.text) and _SITS.search(fact.text)), None)
    match = _SEAT.search(fact.text) if fact else None
    place = match.group().lower() if match else ""
    return _PLACES.get(place, f"by the {place}") if place else ""


def usual_party(memory: Memory, to_number: Callable[[str], int | None]) -> int | None:
    """With how many the caller usually comes."""
    fact = memory.find(re.compile(r"\busually\b.*\b(?:party|people|table)\b", re.I))
    match = _PARTY.search(fact.text) if fact else None
    return to_number(match[1]) if match else None


def needs(memory: Memory) -> str:
    """What the kitchen must know: ``you're allergic to nuts``; empty where there is nothing."""
    fact = memory.find(_NEEDS)
    return spoken(fact) if fact else ""


#: How a proposal from memory ends; agreed to, it is as if the caller had said it.
AS_USUAL = "as usual?"


def agreed(turns: tuple[Turn, ...], is_yes: re.Pattern[str]) -> tuple[Turn, ...]:
    """The turns, with what was proposed from memory in the mouth of a caller who agreed to it."""
    made: list[Turn] = []
    proposed = ""
    for turn in turns:
        if turn.role == "assistant" and turn.text:
            proposed = turn.text if turn.text.rstrip().endswith(AS_USUAL) else ""
        elif turn.role == "user" and proposed and is_yes.search(turn.text):
            last = re.split(r"(?<=[.!?])\s+", proposed.strip())[-1]
            turn = replace(turn, text=f"{turn.text} {last.removesuffix('?')}")
            proposed = ""
        made.append(turn)
    return tuple(made)


# --- what the caller wants of it --------------------------------------------------------------------------------------

_REMEMBER = re.compile(
    r"(?<!you )(?<!still )(?<!you'll )\b(?:remember|note(?: down)?|don't forget|make a note|keep in mind|write down)\b[,:]?\s+(?:that\s+|this:?\s+)?(.+)",
    re.I | re.S,
)
_WILL_YOU = re.compile(r"\b(?:can|could|will|would) you (?:please )?(?=remember|note|make|keep|write)", re.I)
_FORGET = re.compile(
    r"(?<!don't )(?<!not )(?<!never )\b(?:forget|delete|erase|remove)\s+((?:everything|all)\b[^.?!]*|(?:about\s+)?(?:my|that|what|where|who|the)\s+[^.?!]+)",
    re.I,
)
_ABOUT_ME = re.compile(
    r"\b(?:do|don't|did|didn't) you (?:still )?(?:remember|know)\b|\bwhat (?:do|did) you (?:still )?(?:know|remember|have)\b.*\bme\b|"
    r"\bwhat did i (?:say|tell|order|book|have|ask|want)\b|\blast time\b|\b(?:my|the) usual\b|\bas always\b|\bon file\b",
    re.I,
)
_MINE = re.compile(r"^\W*(?:so\W+)?(?:what|which|where|when|how|who)\b.*\b(?:my|i|me|mine)\b", re.I)
_SURE = "for good?"


def asks_back(said: str) -> bool:
    """Whether the caller asks for what we remember."""
    return _ABOUT_ME.search(said) is not None


def may_ask_back(said: str) -> bool:
    """Whether the caller asks for something of their own, which we may remember."""
    return _MINE.search(said) is not None


def to_remember(said: str) -> str:
    """What we are asked to remember, in the caller's words; empty where we are not asked."""
    match = _REMEMBER.search(_WILL_YOU.sub("", said))
    fact = match[1].strip(" .!?,") if match else ""
    return fact if len(fact.split()) >= 3 else ""


def to_forget(said: str) -> str:
    """What we are asked to forget, in the caller's words; empty where we are not asked."""
    match = _FORGET.search(said)
    return re.sub(r"^about\s+", "", match[1].strip(" .!?,")) if match else ""


def confirm_forgetting(what: str) -> str:
    """The question before something is forgotten."""
    swapped = " ".join(_SWAPPED.get(word.lower(), word) for word in what.split())
    return f"Shall I forget {swapped} {_SURE}"


def confirmed_forgetting(turns: tuple[Turn, ...]) -> str:
    """What the question was about that the caller answers now; empty where none was asked."""
    agent = next((turn.text for turn in reversed(turns) if turn.role == "assistant" and turn.text), "")
    if not agent.rstrip().endswith(_SURE):
        return ""
    wishes = (to_forget(turn.text) for turn in reversed(turns) if turn.role == "user")
    return next((wish for wish in wishes if wish), "")


# --- its functions ----------------------------------------------------------------------------------------------------

_TOOLS = {name: re.compile(pattern, re.I) for name, pattern in (
    ("recall", r"recall|memory_?search|look_?up"), ("remember", r"remember|memory_?store"), ("forget", r"forget|memory_?delete"),
)}  # fmt: skip


def tool(conversation: Conversation, name: str) -> Tool | None:
    """The function that recalls, remembers or forgets, if there is one."""
    return next((tool for tool in conversation.tools if _TOOLS[name].search(tool.name)), None)


def kind_of(name: str) -> str:
    """Which of the three a function is; empty for another."""
    return next((kind for kind, pattern in _TOOLS.items() if pattern.search(name)), "")


def call(tool: Tool, text: str) -> Call:
    """The call with this text in its first argument that takes one."""
    texts = [
        name for name, schema in tool.properties.items() if isinstance(schema, dict) and schema.get("type") == "string"
    ]
    return Call(tool.name, orjson.dumps({name: text for name in texts[:1]}).decode())


def found_in(result: str) -> tuple[Fact, ...]:
    """The facts in the result of a recall, whatever its shape."""
    value = _object(result) or {}
    return tuple(
        Fact(item["text"], str(item.get("kind", "")), str(item.get("said_at", ""))[:10])
        for items in value.values()
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict) and isinstance(item.get("text"), str) and "by" not in item
    )
