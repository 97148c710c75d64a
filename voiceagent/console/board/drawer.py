"""The open call beside the board: its words, the current turn's stages and the memories in play, from its log in Redis.

The log is there anyway, so the call's own process notices nothing. Only its end is read: the rest is on the call's page.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from calls.bus import Bus, StepTaken
from calls.core import commands as c
from calls.core import events as e
from calls.core.record import COMMAND_TYPES, EVENT_TYPES, RecordError, build
from calls.core.state import State
from calls.stages import Stage, StageNotes
from calls.timeline_format import clock, milliseconds
from calls.timeline_page import note_text, split_heard
from voiceagent.console.logtail import LogTail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

#: Entries of the log that are read at first, and at once.
_BEHIND: Final = 1_500
_CHUNK: Final = 250
_MOST_ITEMS: Final = 200
_MOST_CHARS: Final = 10_000
#: Of the stages of a turn these have a name that says more than their own.
_STAGES: Final[Mapping[str, str]] = {
    "recall": "memory",
    "chat": "model",
    "execute_tool": "tool",
    "voice": "voice",
    "phrase": "recorded phrase",
    "playback": "heard by the caller for",
    "barge_in": "barge-in",
}
#: What has many entries and shows nothing here.
_SKIPPED: Final = frozenset(
    {
        "CallStarted", "SetTimer", "CancelTimer", "StaleDropped", "WordsTimed", "EndSay", "OpenGate", "CloseGate",
        "FinalizeEar", "CardLoaded", "EarReady", "TimerFired",
    }
)  # fmt: skip
_NOTED: Final = frozenset(
    {
        "RunTool", "ToolSettled", "DtmfPressed", "PlayTones", "Transfer", "PlayPhrase", "EarFailed", "ModelFailed",
        "ModelAttemptFailed", "VoiceFailed", "ErrorRaised", "HangUpAsked", "EndCall",
        "OperatorWhispered", "OperatorSaid", "OperatorTookOver", "OperatorConnected", "OperatorHandedBack", "Intervened",
    }
)  # fmt: skip


class Drawer:
    """One call as its reader follows it. ``look`` gives what is new, as plain JSON values."""

    def __init__(self, redis: Redis, call_sid: str, redact: Callable[[str], str]) -> None:
        self.call_sid = call_sid
        self._log = LogTail(redis, call_sid)
        self._redact = redact
        self._items: dict[str, dict[str, Any]] = {}
        self._new: dict[str, None] = {}
        self._memories: list[dict[str, Any]] = []
        #: The caller's line that forms, and when each began of those whose turn is not closed.
        self._forming = ""
        self._open: dict[str, int] = {}
        self._spoken = 0
        self._ended_ms = -1
        self._turn_ended_ms = -1
        self._at_ms = 0
        self._is_earlier = False
        bus = self._bus = Bus(lambda error: None)  # a stage that cannot be made out is one less
        self._notes = StageNotes(bus, lambda why, at_ms, **facts: None, with_words=False)

    async def look(self) -> dict[str, Any] | None:
        """What has happened since the last look; the first time everything there is. ``None``: nothing. Raises
        ``RedisError`` or ``OSError``."""
        whole = not self._log.last
        if whole:
            self._is_earlier = await self._log.skip_to_last(_BEHIND)
        entries = await self._log.read(_CHUNK)
        if not entries and not whole:
            return None
        while entries:
            for _entry_id, fields in entries:
                self._take({name.decode(): value for name, value in fields.items()})
            await asyncio.sleep(0)  # calls may be running here
            entries = await self._log.read(_CHUNK) if len(entries) == _CHUNK else []
        keys = self._items if whole else [key for key in self._new if key in self._items]
        items = sorted((self._items[key] for key in keys), key=lambda item: item["ms"])
        self._new.clear()
        return {
            "whole": whole,
            "earlier": self._is_earlier,
            "items": items,
            "turn": self._turn(),
            "memories": self._memories,
        }

    # --- one entry --------------------------------------------------------------------------------------------------

    def _take(self, fields: Mapping[str, bytes]) -> None:
        kind = fields["type"].decode()
        if kind in _SKIPPED:
            return
        data = orjson.loads(fields["data"])
        at_ms, seq = int(fields["at_ms"]), int(fields["seq"])
        self._at_ms = at_ms
        if kind in _NOTED and (note := note_text(kind, data)) is not None:
            self._put(f"n{seq}", at_ms, who="event", text=note[0], alarm=note[1])
        if (known := _ITEMS.get(kind)) is not None:
            known(self, data, at_ms)
        self._stage(kind, data, at_ms)

    def _stage(self, kind: str, data: dict[str, Any], at_ms: int) -> None:
        cls = EVENT_TYPES.get(kind) or COMMAND_TYPES.get(kind)
        if cls is None:
            return
        if cls is c.AskModel:
            data["messages"] = []  # the whole conversation, with every request
        try:
            value = build(cls, {name: field for name, field in data.items() if name != "type"})
        except RecordError:
            return  # another version's
        is_event = isinstance(value, e.Event)
        event = value if is_event else replace(_NO_EVENT, at_ms=at_ms)
        step = StepTaken(0, 0, event, () if is_event else (value,), _NO_STATE)
        self._bus.publish(step)

    def _put(self, key: str, at_ms: int, **item: Any) -> None:
        """A line of the time at which it began. One with a known key is the same line."""
        item["text"] = self._redact(item["text"][:_MOST_CHARS])
        self._items[key] = {"key": key, "ms": at_ms, "at": clock(at_ms), **item}
        self._new[key] = None
        if len(self._items) > _MOST_ITEMS:
            del self._items[next(iter(self._items))]
            self._is_earlier = True

    def _heard(self, data: dict[str, Any], at_ms: int, *, interim: bool = True) -> None:
        """What the caller says, as it forms: a line from its first words on, which keeps its place."""
        if not data["text"].strip():
            return
        if not self._forming:
            self._spoken += 1
            self._forming = f"u{self._spoken}"
        began_ms = self._open.setdefault(self._forming, at_ms)
        self._put(self._forming, began_ms, who="caller", text=data["text"], interim=interim)

    def _ended(self, data: dict[str, Any], at_ms: int) -> None:
        self._heard(data, at_ms, interim=False)
        self._turn_ended_ms = at_ms
        self._forming = ""

    def _closed(self, data: dict[str, Any], at_ms: int) -> None:
        """A turn as it came to be."""
        turn, sure_ms = data["turn"], max(0, data["committed_ms"])
        if data["user_text"].strip():
            own = [key for key, began_ms in self._open.items() if began_ms <= sure_ms and key in self._items]
            for key in own:  # what was said in pieces stays where each was said
                text = data["user_text"] if len(own) == 1 else self._items[key]["text"]
                self._put(key, self._open.pop(key), who="caller", text=text)
                self._forming = "" if key == self._forming else self._forming
            if not own:
                self._put(f"t{turn}", sure_ms, who="caller", text=data["user_text"])
        heard, unheard = split_heard(data["generated_text"], data["heard_text"])
        if heard or unheard:
            spoke_ms = data["first_audio_ms"] if data["first_audio_ms"] >= 0 else at_ms
            unheard = self._redact(unheard[:_MOST_CHARS])
            self._put(f"a{turn}", spoke_ms, who="assistant", text=heard, unheard=unheard)

    def _silent(self, data: dict[str, Any], _at_ms: int) -> None:
        self._ended_ms = data["voiced_until_ms"]

    def _recalled(self, data: dict[str, Any], _at_ms: int) -> None:
        self._memories = [
            {
                "level": item["level"],
                "kind": item["kind"],
                "text": self._redact(item["text"][:_MOST_CHARS]),
                "score": f"{item['score_milli'] / 1000:.2f}",
            }
            for item in data["items"]
            if item["in_prompt"]
        ]

    # --- the current turn -------------------------------------------------------------------------------------------

    def _turn(self) -> dict[str, Any] | None:
        """Its stages on the call's clock, from the caller's last sound on; an end of -1 is still to come."""
        newest = self._notes.newest()
        if newest is None:
            return None
        number, noted = newest
        for older in range(number - 3, number - 1):
            self._notes.take(older)
        stages = [_bar(stage) for stage in noted.stages]
        begins = min((stage["from"] for stage in stages), default=self._at_ms)
        zero = self._ended_ms if 0 <= self._ended_ms <= begins + 5_000 else begins
        if self._turn_ended_ms >= zero:
            stages.insert(
                0, {"name": "end-of-turn wait", "from": zero, "first": -1, "until": self._turn_ended_ms, "note": ""}
            )
        return {"number": number, "zero": min(zero, begins), "stages": stages, "left_out": noted.left_out}


def _bar(stage: Stage) -> dict[str, Any]:
    name = _STAGES.get(stage.name, stage.name)
    notes = [stage.error.replace("_", " "), "cancelled" if stage.facts.get("cancelled") else ""]
    if stage.first_ms >= 0:
        notes.append(f"first after {milliseconds(stage.first_ms - stage.from_ms)}")
    return {
        "name": f"{name} {stage.what}".strip(),
        "from": stage.from_ms,
        "first": stage.first_ms,
        "until": stage.until_ms,
        "note": ", ".join(filter(None, notes)),
        "bad": bool(stage.error),
        "cancelled": bool(stage.facts.get("cancelled")),
    }


_NO_EVENT: Final = e.TurnOpened()
_NO_STATE: Final = State()
_ITEMS: Final[Mapping[str, Callable[[Drawer, dict[str, Any], int], None]]] = {
    "WordsHeard": Drawer._heard,
    "EagerEnd": Drawer._heard,
    "TurnEnded": Drawer._ended,
    "TurnClosed": Drawer._closed,
    "SpeechEnded": Drawer._silent,
    "MemoryRecalled": Drawer._recalled,
}
