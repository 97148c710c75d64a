"""What operators ask of one call, and what they are told: the core's events in, its outcomes out.

A request has a key of its own. The same key again is the same request: it has one effect and the same answer. Lives on the
call's loop, beside the call; it keeps nothing that the record does not have.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from calls.core import events as e
from calls.core.commands import Intervened
from calls.core.state import Phase

if TYPE_CHECKING:
    from calls.bus import Bus, StepTaken
    from calls.core.events import Event
    from calls.core.state import State
    from calls.ports import Post

#: The longest text of each request, in characters: a note, a sentence to say, a summary, a reason.
MOST_CHARS = {"note": 1000, "sentence": 400, "summary": 500, "reason": 300}
KEY_CHARS = 64
#: Requests whose answers are kept for those who ask again, and outcomes that a page is shown.
MOST_KEPT, MOST_SHOWN = 200, 40
#: How long a call may take for its answer. It takes one step.
ANSWER_S = 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a request: ``accepted``, or ``why`` not, in words for the operator. ``data``: what was asked for."""

    accepted: bool
    why: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class BadRequest(ValueError):
    """A request that says too little or too much; the message is for the operator."""


def _text(args: Mapping[str, Any], name: str, kind: str, *, needed: bool = True) -> str:
    value = args.get(name, "")
    text = (
        "".join(mark for mark in value if mark.isprintable() or mark in "\n\t").strip()
        if isinstance(value, str)
        else ""
    )
    if needed and not text:
        raise BadRequest(f"The {kind} is empty.")
    if len(text) > MOST_CHARS[kind]:
        raise BadRequest(f"The {kind} has {len(text):,} characters; it may have {MOST_CHARS[kind]:,}.")
    return text


def _said(by: str, key: str, args: Mapping[str, Any]) -> Event:
    when = args.get("when", "next_pause")
    if when not in ("now", "next_pause"):
        raise BadRequest("A sentence is said now, or at the next pause.")
    return e.OperatorSaid(key=key, by=by, text=_text(args, "text", "sentence"), when=when)


def _end(by: str, key: str, args: Mapping[str, Any]) -> Event:
    why, text = _text(args, "reason", "reason"), _text(args, "text", "sentence", needed=False)
    return e.HangUpAsked(by="operator", operator=by, why=why, text=text, key=key)


#: Action -> the event that it is. Raises ``BadRequest``.
EVENTS: dict[str, Callable[[str, str, Mapping[str, Any]], Event]] = {
    "whisper": lambda by, key, args: e.OperatorWhispered(key=key, by=by, text=_text(args, "text", "note")),
    "say": _said,
    "take_over": lambda by, key, _: e.OperatorTookOver(key=key, by=by),
    "hand_back": lambda by, key, args: e.OperatorHandedBack(key=key, by=by, summary=_text(args, "text", "summary")),
    "end": _end,
}
_KINDS = (e.OperatorWhispered, e.OperatorSaid, e.OperatorTookOver, e.OperatorHandedBack, e.HangUpAsked)
_REFUSALS = {
    "whisper": "Too many notes wait already.",
    "say": "Too many sentences wait already, or the call is ending.",
    "take_over": "The call is ending.",
    "hand_back": "Nobody has taken this call over.",
}


class Desk:
    """Of one call. ``changed`` is called after a step that operators' pages show."""

    def __init__(self, bus: Bus, post: Post, state: Callable[[], State], changed: Callable[[], object]) -> None:
        self._post = post
        self._state = state
        self._changed = changed
        self._asked: OrderedDict[str, asyncio.Future[Outcome]] = OrderedDict()
        self._shown: deque[dict[str, Any]] = deque(maxlen=MOST_SHOWN)
        self._listening: dict[str, int] = {}
        for kind in _KINDS:
            bus.subscribe(kind, self._taken)
        bus.subscribe(Intervened, self._became)
        bus.subscribe(e.OperatorListening, self._listens)
        bus.subscribe(e.OperatorConnected, self._moved)

    async def ask(self, action: str, by: str, key: str, args: Mapping[str, Any]) -> Outcome:
        """Have it done; the answer is the call's own. Never raises."""
        asked = self._asked.get(key)
        if asked is None:
            refusal = self._refusal(action, by, key)
            if refusal:
                return Outcome(accepted=False, why=refusal)
            try:
                event = EVENTS[action](by, key, args)
            except BadRequest as error:
                return Outcome(accepted=False, why=str(error))
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
            if len(self._asked) > MOST_KEPT:
                self._asked.popitem(last=False)
            self._post(event)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.shield(asked)
        except TimeoutError:
            return Outcome(accepted=False, why="The call does not answer; look at it before you try again.")

    def status(self) -> dict[str, Any]:
        """What a page shows: ``phase``, ``holder`` (who has taken over), ``listeners``, ``notes`` and ``sayings`` that wait
        (keys), and the last ``outcomes``, oldest first."""
        state = self._state()
        return {
            "phase": str(state.phase),
            "holder": state.operator,
            "listeners": sorted(self._listening),
            "notes": [note.key for note in state.notes],
            "sayings": [saying.key for saying in state.sayings],
            "outcomes": list(self._shown),
        }

    def _refusal(self, action: str, by: str, key: str) -> str:
        if action not in EVENTS or not by or not 0 < len(key) <= KEY_CHARS:
            return "This request is not understood."
        phase = self._state().phase
        if phase is Phase.CONNECTING:
            return "The call is not connected yet."
        return "The call has ended." if phase in (Phase.ENDING, Phase.ENDED) else ""

    # --- what the call does

    def _taken(self, event: Any, step: StepTaken) -> None:
        became = next((x for x in step.commands if isinstance(x, Intervened) and x.key == event.key), None)
        refused = became is not None and became.outcome in ("dropped", "refused")
        why = ""
        if became is not None and refused:
            holder = step.state.operator
            why = f"{holder} has taken this call over." if holder else _REFUSALS[became.action]
        waiting = self._asked.get(event.key)
        if waiting is not None and not waiting.done():
            waiting.set_result(Outcome(accepted=not refused, why=why, data={"holder": step.state.operator}))
        self._changed()

    def _became(self, command: Intervened, step: StepTaken) -> None:
        self._shown.append({**asdict(command), "at_ms": step.event.at_ms})
        self._changed()

    def _moved(self, _event: e.OperatorConnected, _step: StepTaken) -> None:
        self._changed()

    def _listens(self, event: e.OperatorListening, _step: StepTaken) -> None:
        count = self._listening.get(event.by, 0) + (1 if event.on else -1)
        if count > 0:
            self._listening[event.by] = count
        else:
            self._listening.pop(event.by, None)
        self._changed()
