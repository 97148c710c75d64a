"""What the receptionist can tell: from the instructions where they say it, else what the house is known for."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """Something callers ask about.

    ``asked`` recognises the question, ``told`` finds the passage of the instructions that answers it, ``frame`` makes
    a sentence of that passage, ``known`` is the answer of a house whose instructions are silent.
    """

    name: str
    asked: re.Pattern[str]
    told: re.Pattern[str]
    frame: str
    known: str


def _topic(name: str, asked: str, told: str, frame: str, known: str) -> Topic:
    return Topic(name, re.compile(asked, re.I), re.compile(told, re.I), frame, known)


TOPICS = (
    _topic(
        "hours",
        r"\b(?:opening|open|close[sd]?|closing|hours|until when|how late)\b(?!.*\bparking\b)",
        r"\b(?:open|closed|hours)\b",
        "We're {}.",
        "We're open from noon to ten in the evening, every day except Monday.",
    ),
    _topic(
        "address",
        r"\b(?:where (?:are you|is it|exactly|do i find)|address|located|location|how do (?:i|we) (?:get|find)|which street|directions)\b",
        r"\b(?:street|road|avenue|square|lane|address)\b",
        "We're at {}.",
        "We're at twelve Harbour Street, five minutes from the station.",
    ),
    _topic(
        "parking",
        r"\b(?:park|parking|garage|car)\b",
        r"\b(?:parking|car park|garage)\b",
        "There's {}.",
        "There's parking behind the house.",
    ),
    _topic(
        "menu",
        r"\b(?:menu|dishes|special(?:s|ties)?|recommend|serve|what (?:do you have|can (?:i|we) eat)|kind of food|cuisine|cook)\b",
        r"(?!)",
        "{}",
        "Gladly. We begin with bruschetta, a mixed plate of antipasti, or the soup of the day. "
        "Our pasta is made fresh every morning: tagliatelle with slow cooked beef, ravioli with ricotta and spinach, "
        "and linguine with clams when the market has them. After that there is sea bass with lemon, veal with sage, "
        "and a risotto with wild mushrooms. For dessert we have tiramisu, panna cotta with berries, and lemon sorbet. "
        "And the chef changes two or three dishes with every season.",
    ),
    _topic(
        "vegetarian",
        r"\b(?:vegetarian|vegan|veggie|meat[- ]?free|without meat|plant[- ]based)\b",
        r"\b(?:vegetarian|vegan)\b",
        "Yes, we have {}.",
        "Yes, we have a vegetarian and a vegan menu.",
    ),
    _topic(
        "gluten",
        r"\b(?:gluten|celiac|coeliac)\b",
        r"\bgluten\b",
        "We have {}.",
        "We have gluten-free pasta on request.",
    ),
    _topic(
        "allergies",
        r"\b(?:allerg\w*|lactose|dairy|nuts?|intoleran\w+)\b",
        r"\ballerg\w*",
        "{}.",
        "The kitchen takes great care with allergies. Just tell the waiter which ones, and we'll note it with the booking.",
    ),
    _topic(
        "dogs",
        r"\b(?:dogs?|pets?|puppy)\b",
        r"\b(?:dogs?|pets?)\b",
        "{}.",
        "Dogs are welcome on the terrace.",
    ),
    _topic(
        "outside",
        r"\b(?:outside|outdoors?|terrace|garden|in the sun)\b",
        r"(?!)",
        "{}",
        "Yes, we have a terrace, and if the weather is kind we'll seat you there.",
    ),
    _topic(
        "children",
        r"\b(?:kids?|child(?:ren)?|baby|high ?chair)\b",
        r"\b(?:children|kids|high ?chair)\b",
        "{}.",
        "Children are very welcome, and we have high chairs.",
    ),
    _topic(
        "payment",
        r"\b(?:credit cards?|pay|cash|expensive|prices?|cost)\b",
        r"\b(?:cards?|cash|price)\b",
        "{}.",
        "Main courses are between fifteen and thirty, and we take cards and cash.",
    ),
    _topic(
        "wine",
        r"\b(?:wines?|drinks?|bar|beer|cocktails?)\b",
        r"\b(?:wines?|drinks)\b",
        "{}.",
        "We have a small list of Italian wines, most of them also by the glass.",
    ),
)  # fmt: skip

_RESTAURANT = re.compile(
    r"\b(?:restaurant|trattoria|pizzeria|bistro|brasserie|caf[eé]|book_table|reservations?)\b", re.I
)
_PASSAGE = re.compile(r"[^\n;.]+")
_HOUSE = re.compile(
    r"\b(?:receptionist|assistant|agent|host(?:ess)?|voice|operator|secretary)\s+(?:of|for|at)\s+(?:the\s+)?([A-Z][\w'&]*(?:\s+[A-Z][\w'&]*)*)"
)
_CLOSED = re.compile(r"\bclosed (?:on |every )?(\w+?day)s?\b", re.I)
_CALLER = re.compile(
    r"\b(?:caller(?:'s name)?|(?:customer|guest)(?:'s)? name|name of the caller)\s*(?:is(?: called| named)?|:)\s*([A-Z][\w'-]+(?:\s+[A-Z][\w'-]+){0,2})"
)
_TODAY = re.compile(r"\b(?:today(?: is|:)|current date(?: is|:)?|date:)[^\d\n]{0,30}(\d{4}-\d{2}-\d{2})", re.I)


def is_restaurant(instructions: str) -> bool:
    """Whether these instructions are those of a restaurant; without any it is ours."""
    return not instructions.strip() or _RESTAURANT.search(instructions) is not None


def house(instructions: str) -> str | None:
    """The name of the business."""
    match = _HOUSE.search(instructions)
    return match[1] if match else None


def closed_day(instructions: str) -> str | None:
    """The weekday on which the house is closed, in small letters."""
    match = _CLOSED.search(instructions)
    return match[1].lower() if match else ("monday" if not instructions.strip() else None)


def caller_name(instructions: str) -> str | None:
    """The caller's name where the instructions know it."""
    match = _CALLER.search(instructions)
    return match[1] if match else None


def stated_date(instructions: str) -> str | None:
    """The current date where the instructions state it, as ISO text."""
    match = _TODAY.search(instructions)
    return match[1] if match else None


def topics_in(text: str) -> list[Topic]:
    """What a sentence asks about, in the order of its words."""
    found = [(match.start(), topic) for topic in TOPICS if (match := topic.asked.search(text))]
    found_names = {topic.name for _, topic in found}
    if found_names & {"vegetarian", "gluten", "allergies"}:
        # "Do you have vegetarian dishes?" does not ask for the whole menu.
        found = [(at, topic) for at, topic in found if topic.name != "menu"]
    return [topic for _, topic in sorted(found, key=lambda pair: pair[0])][:2]


def answer(topic: Topic, instructions: str) -> str:
    """A sentence or two about a topic."""
    passages = [
        passage.strip(" -*•\t").strip()
        for passage in _PASSAGE.findall(instructions)
        if topic.told.search(passage) and not re.search(r"\b(?:call|ask|never|speak|you are)\b", passage, re.I)
    ]
    if not passages:
        return topic.known
    first = passages[0]
    if topic.name in ("vegetarian", "gluten"):
        # The passage may be part of a list: what comes after the comma that precedes the word.
        pieces = [piece.strip() for piece in first.split(",") if topic.told.search(piece)]
        first = pieces[0] if pieces else first
    text = topic.frame.format(
        first if topic.frame == "{}." or topic.name == "address" else first[0].lower() + first[1:]
    )
    if topic.name == "hours" and len(passages) > 1 and passages[1].lower().startswith("closed"):
        text = text[:-1] + ", and " + passages[1][0].lower() + passages[1][1:] + "."
    return text


_STOP = frozenset(
    "a an and are at can do does for have how i is it me my of on or please tell the to what when where which who you your about there any".split()
)


def passage_about(question: str, instructions: str) -> str | None:
    """The passage of any instructions that shares most words with a question."""
    wanted = {word for word in re.findall(r"[a-z']+", question.lower()) if word not in _STOP and len(word) > 2}
    best: tuple[int, str] | None = None
    for passage in re.findall(r"[^\n.]+", instructions):
        if re.search(r"\b(?:you|your|never|always)\b", passage, re.I):
            continue
        score = len(wanted & set(re.findall(r"[a-z']+", passage.lower())))
        if score and (best is None or score > best[0]):
            best = (score, passage.strip(" -*•\t"))
    return best[1] + "." if best else None
