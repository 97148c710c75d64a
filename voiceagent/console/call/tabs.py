"""The five panels beside the transcript: what a turn waited for, remembered, asked the model, and its raw events and sound."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db.models import Q, TextField
from django.db.models.functions import Cast

from calls import timeline_page
from calls.core.history import CARD_NOTE, RECALLED_NOTE
from calls.selectors import DETAIL
from calls.timeline_format import exact_clock, exact_time
from voiceagent.console.call.waterfall import Part, Waterfall, waterfall, with_usual

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.db.models import QuerySet

    from calls.models import Call, CallEvent
    from voiceagent.console.call.page import Told
    from voiceagent.console.call.story import Steps

#: Tab → its name and the permission that it needs besides seeing the console.
TABS: dict[str, tuple[str, str]] = {
    "timing": ("Timing", ""),
    "memory": ("Memory", ""),
    "model": ("Model", "console.see_prompts"),
    "events": ("Events", "console.see_raw"),
    "audio": ("Audio", ""),
}
EVENTS_PER_PAGE = 200
_JSON_CHARS = 4000
#: The drawing is so wide, in its own units.
WIDTH = 1000


# --- timing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the waterfall with its places in the drawing: where it ran, what of it counts, and what is usual."""

    part: Part
    x: float
    width: float
    solid_x: float
    solid_width: float
    usual_x: float
    usual_width: float

    @property
    def is_over(self) -> bool:
        """Whether it counted for longer than it may."""
        return self.part.budget_ms is not None and self.part.counted_ms > self.part.budget_ms


@dataclass(frozen=True, slots=True)
class Timing:
    """A waterfall to draw. ``zero_x`` is where the caller ended, ``end_x`` where the answer was heard."""

    fall: Waterfall
    rows: tuple[Row, ...]
    zero_x: float
    end_x: float


def timing(of: Told, number: int) -> Timing | None:
    """The waterfall of a turn with what is usual in the others; ``None`` for a turn without a response time."""
    steps = of.story.turns.get(number)
    fall = waterfall(steps) if steps is not None else None
    if fall is None:
        return None
    others = [waterfall(other) for other_number, other in of.story.turns.items() if other_number != number]
    fall = with_usual(fall, (other for other in others if other is not None))
    first, last = fall.first_ms, fall.last_ms
    scale = WIDTH / max(1, last - first)

    def x(at_ms: int) -> float:
        return round((at_ms - first) * scale, 2)

    def row(part: Part) -> Row:
        low, high = part.usual or (0, 0)
        start = part.from_ms if part.from_ms >= 0 else first
        end = part.until_ms if part.until_ms >= start else start
        return Row(
            part,
            x(start),
            round(max(0, min(end, last) - start) * scale, 2),
            x(part.counted_from_ms) if part.counted_ms else 0,
            round(part.counted_ms * scale, 2),
            x(start + low),
            round(max(0, high - low) * scale, 2),
        )

    return Timing(fall, tuple(map(row, fall.parts)), x(fall.from_ms), x(fall.until_ms))


# --- model ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the prompt. ``change`` says what is new in it since the request before: ``same``, ``new`` or a diff."""

    name: str
    text: str
    change: str = ""
    diff: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Asked:
    """One request to the model and what came of it."""

    at: str
    epoch: int
    speculative: bool
    sections: list[Section]
    text: str = ""
    tools: list[dict[str, str]] = field(default_factory=list)
    finish: str = "not finished"
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    failures: list[str] = field(default_factory=list)


def model(events: Iterable[Any], before: Mapping[str, str]) -> list[Asked]:
    """The requests of a turn, from its entries in order. ``before``: section → text of the request before its first one."""
    asked: list[Asked] = []
    tools: dict[str, dict[str, str]] = {}
    for event in events:
        data = event.data if isinstance(event.data, dict) else {}
        if event.type == "AskModel":
            found = sections(data.get("messages"))
            at = exact_clock(event.at_ms)
            compared = [_compared(name, text, before) for name, text in found.items()]
            asked.append(Asked(at, int(data.get("epoch") or 0), bool(data.get("speculative")), compared))
            before = found
        elif asked:
            _follow(asked[-1], event.type, data, tools)
    return asked


def _follow(asked: Asked, name: str, data: Mapping[str, Any], tools: dict[str, dict[str, str]]) -> None:
    if name == "ModelText":
        asked.text += str(data.get("text", ""))
    elif name == "ModelFinished":
        asked.finish, asked.model = str(data.get("reason")), str(data.get("model") or asked.model)
        asked.input_tokens, asked.output_tokens = data.get("input_tokens"), data.get("output_tokens")
        asked.cached_tokens = data.get("cached_tokens")
    elif name in ("ModelFailed", "ModelAttemptFailed"):
        asked.failures.append(f"{data.get('kind')} {data.get('endpoint') or ''}".strip())
    elif name == "RunTool":
        tool = {
            "name": str(data.get("name")),
            "arguments": str(data.get("arguments")),
            "outcome": "running",
            "output": "",
        }
        tools[str(data.get("call_id"))] = tool
        asked.tools.append(tool)
    elif name == "ToolSettled" and (tool := tools.get(str(data.get("call_id")), {})):
        tool |= {"outcome": str(data.get("outcome")), "output": str(data.get("output"))}
    elif name == "CancelModel" and asked.finish == "not finished":
        asked.finish = "cancelled"


def sections(messages: Any) -> dict[str, str]:
    """A request's messages by what they are for: instructions, the caller's card, history, recalled, the caller's words."""
    known = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    found: dict[str, str] = {}
    last_user = max((place for place, message in enumerate(known) if message.get("role") == "user"), default=-1)
    for place, message in enumerate(known):
        text = _text(message)
        if place == 0 and message.get("role") == "developer":
            instructions, _, card = text.partition(CARD_NOTE)
            found["Instructions"] = instructions.strip()
            if card.strip():
                found["Caller's card"] = card.strip()
        elif text.startswith(RECALLED_NOTE):
            found["Recalled"] = text.removeprefix(RECALLED_NOTE).strip()
        elif place >= last_user >= 0:
            name = "The caller's words" if place == last_user else "This reply so far"
            found[name] = f"{found.get(name, '')}\n{text}".strip()
        else:
            found["History"] = f"{found.get('History', '')}\n{message.get('role')}: {text}".strip()
    order = ("Instructions", "Caller's card", "History", "Recalled", "The caller's words", "This reply so far")
    return {name: found[name] for name in order if name in found}


def _text(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return "; ".join(f"{call.get('name')}({call.get('arguments')})" for call in calls if isinstance(call, dict))
    return str(message.get("text", ""))


def _compared(name: str, text: str, before: Mapping[str, str]) -> Section:
    if name not in before:
        return Section(name, text, "new" if before else "")
    if before[name] == text:
        return Section(name, text, "same")
    lines = difflib.unified_diff(before[name].splitlines(), text.splitlines(), lineterm="", n=0)
    diff = tuple((line[0], line[1:]) for line in list(lines)[2:202] if line[:2] != "@@")
    return Section(name, text, "changed", diff)


def prompt_before(events: Sequence[Any]) -> dict[str, str]:
    """The sections of the newest of these requests."""
    return sections(events[-1].data.get("messages")) if events else {}


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to show; empty is all. ``turn`` limits them to one, ``after`` pages on."""

    kind: str = ""
    text: str = ""
    turn: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    after: int = 0
    detail: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry of the log as the list shows it."""

    seq: int
    at: str
    time: str
    kind: str
    type: str
    mode: str
    summary: str
    json: str
    cut_chars: int


def events(call: Call, chosen: Filter, steps: Steps | None) -> tuple[list[Raw], int]:
    """A page of the log, and after which number the next begins; 0 at its end."""
    found = call.events.order_by("seq").filter(seq__gt=chosen.after)
    if chosen.turn is not None:
        of_turn = Q(turn=chosen.turn)
        if steps is not None and steps.first_seq:
            of_turn |= Q(seq__gte=steps.first_seq, seq__lte=steps.last_seq)
        found = found.filter(of_turn)
    if chosen.from_ms is not None and chosen.until_ms is not None:
        found = found.filter(at_ms__gte=chosen.from_ms, at_ms__lte=chosen.until_ms)
    if chosen.kind in ("event", "command", "broken"):
        found = found.filter(kind=chosen.kind)
    if not chosen.detail and not chosen.text:
        found = found.exclude(type__in=DETAIL)
    if chosen.text:
        found = _with_text(found, chosen.text)
    rows = list(found[: EVENTS_PER_PAGE + 1])
    more = len(rows) > EVENTS_PER_PAGE
    rows = rows[:EVENTS_PER_PAGE]
    return [raw(row) for row in rows], rows[-1].seq if more else 0


def _with_text(found: QuerySet[CallEvent], text: str) -> QuerySet[CallEvent]:
    """Entries whose type or values hold this text."""
    return found.annotate(as_text=Cast("data", TextField())).filter(
        Q(as_text__icontains=text) | Q(type__icontains=text)
    )


def raw(event: CallEvent) -> Raw:
    """An entry in one line, and whole as JSON."""
    text = timeline_page.as_json(event.data)
    return Raw(
        seq=event.seq,
        at=exact_clock(event.at_ms),
        time=exact_time(event.at),
        kind=event.kind,
        type=event.type,
        mode=event.mode,
        summary=timeline_page.summary(event),
        json=text[:_JSON_CHARS],
        cut_chars=max(0, len(text) - _JSON_CHARS),
    )


def events_of_turn(call: Call, number: int, steps: Steps | None) -> QuerySet[CallEvent]:
    """What the model's panel reads of a turn."""
    names = (
        "AskModel",
        "ModelText",
        "ModelFinished",
        "ModelFailed",
        "ModelAttemptFailed",
        "RunTool",
        "ToolSettled",
        "CancelModel",
    )
    low, high = (steps.first_seq, steps.last_seq) if steps is not None else (0, 0)
    return call.events.filter(
        Q(turn=number) | Q(seq__gte=low, seq__lte=high), Q(data__turn=number) | Q(type="ToolSettled"), type__in=names
    ).order_by("seq")


def asked_before(call: Call, seq: int) -> QuerySet[CallEvent]:
    """The last request before this entry."""
    return call.events.filter(type="AskModel", seq__lt=seq).order_by("-seq")[:1]


# --- audio ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sound:
    """A figure about the sound: of the caller's side and of the assistant's; ``None`` is no data."""

    name: str
    caller: str
    agent: str
    hint: str = ""


def sound(call: Call, figures: Mapping[str, Any]) -> list[Sound]:
    """What is known of the call's sound: of the recording, and of how its frames arrived."""
    sides = [figures.get(side) or {} for side in ("caller", "agent")]

    def both(name: str, key: str, form: str, hint: str = "", factor: float = 1) -> Sound:
        values = [side.get(key) for side in sides]
        shown = [form.format(value * factor) if isinstance(value, int | float) else "no data" for value in values]
        return Sound(name, shown[0], shown[1], hint)

    frames = call.audio if isinstance(call.audio, dict) else {}

    def arrived(name: str, key: str, form: str, hint: str = "") -> Sound:
        value = frames.get(key)
        return Sound(name, form.format(value) if isinstance(value, int) else "no data", "", hint)

    return [
        both("Level of speech", "level_dbfs", "{:.1f} dBFS", "Mean level of what is louder than -45 dBFS"),
        both("Quiet", "quiet_share", "{:.0f} %", "Share of the recording below -45 dBFS", 100),
        both("Clipped", "clipped_share", "{:.3f} %", "Share of samples at the loudest value of the line", 100),
        *(arrived(name, key, form, hint) for key, (name, form, hint) in FRAMES.items()),
    ]


#: Key of ``Call.audio`` → its name, form and meaning.
FRAMES: dict[str, tuple[str, str, str]] = {
    "frames": ("Frames arrived", "{:,}", "20 ms of the caller each"),
    "late": ("Frames late", "{:,}", "Later than the line's own delay by more than the jitter that is usual"),
    "worst_ms": ("Worst lateness", "{:,} ms", "How late the latest frame was: the jitter's upper end"),
    "dropped": ("Frames dropped", "{:,}", "Lost before speech recognition, which could not keep up"),
    "waited_ms": ("Longest wait in the queue", "{:,} ms", "How long an event lay in the call's mailbox"),
}
