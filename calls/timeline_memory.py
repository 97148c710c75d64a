"""What of the caller's memory was found for a turn, as pages of calls show it. Pure: read from the turn's row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calls.timeline_format import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALL_ID = re.compile(r"CA[0-9a-f]{32}")

#: Why something that was found is not before the model.
WHY_NOT = {
    "floor": "fits too little",
    "budget": "no room",
    "duplicate": "before the model already",
    "history": "said in this call",
    "superseded": "no longer true",
    "late": "too late",
}
#: How a recall went, where it did not go as it should.
RECALLS = {
    "words": "by its words alone: its meaning came too late",
    "late": "too late: the model was asked without it",
    "empty": "nothing is known of this caller",
    "failed": "failed: the model was asked without it",
    "dropped": "not needed any more",
}


@dataclass(frozen=True, slots=True)
class Memo:
    """One thing that was found. ``call_sid`` is the call where it was said, where it is one of ours; ``at`` and ``seek_s`` its place."""

    text: str
    about: str
    left_out: str
    quote: str
    call_sid: str
    at: str
    seek_s: str


@dataclass(frozen=True, slots=True)
class Memories:
    """What was recalled for a turn: a line about it, and each thing that was found."""

    summary: str
    memos: tuple[Memo, ...]


def memories(recalled: Any) -> Memories | None:
    """Of ``Turn.recalled``; ``None`` where nothing was asked of the memory. What cannot be read is left out."""
    if not isinstance(recalled, dict) or not recalled:
        return None
    items = recalled.get("items")
    memos = tuple(_memo(item) for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
    shown = sum(not memo.left_out for memo in memos)
    found = f"Recalled {shown} of {len(memos)} found" if memos else "Nothing recalled"
    took = recalled.get("took_ms")
    parts = [found, f"{took} ms" if isinstance(took, int) else "", RECALLS.get(str(recalled.get("outcome")), "")]
    return Memories(", ".join(part for part in parts if part), memos)


def _memo(item: Mapping[str, Any]) -> Memo:
    why_not = str(item.get("why_not") or "unknown")
    score, audio_ms = item.get("score_milli"), item.get("audio_ms")
    conversation = str(item.get("conversation", ""))
    is_placed = isinstance(audio_ms, int) and audio_ms >= 0
    about = [
        str(item.get("kind", "")),
        str(item.get("level", "")),
        f"score {score / 1000:.2f}" if isinstance(score, int) else "",
        "said by the agent" if item.get("role") == "assistant" else "",
        str(item.get("said_at", ""))[:10],
        str(item.get("id", "")),
    ]
    return Memo(
        text=str(item.get("text", "")),
        about=", ".join(part for part in about if part),
        left_out="" if item.get("in_prompt") is True else WHY_NOT.get(why_not, why_not),
        quote=str(item.get("quote", "")),
        call_sid=conversation if _CALL_ID.fullmatch(conversation) else "",
        at=clock(audio_ms) if is_placed else "",
        seek_s=f"{audio_ms / 1000:.2f}" if isinstance(audio_ms, int) and is_placed else "",
    )
