"""A call as files: everything as one JSON, its log as line-JSON, the transcript as text, VTT and CSV. Pure but for the rows given."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from calls.codecs import mulaw
from voiceagent.console.exports import inert
from voiceagent.console.masks import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from voiceagent.console.call.cards import Card

#: Frames of a recording that are read at once.
_FRAMES = 64_000


def number(text: str, *, plain: bool) -> str:
    """A caller's number, for whoever may see it; else masked."""
    return text if plain else masked(text)


def turn(card: Card) -> dict[str, Any]:
    """A turn as the JSON export has it; times in ms on the call's clock."""
    return {
        "number": card.number,
        "title": card.title,
        "caller_from_ms": card.caller_ms,
        "assistant_from_ms": card.agent_ms,
        "until_ms": card.until_ms,
        "caller": "".join(span.text for span in card.caller),
        "heard": "".join(span.text for span in card.heard),
        "not_heard": "".join(span.text for span in card.unheard),
        "response_ms": card.response_ms,
        "outcome": card.outcome,
        "causes": list(card.causes),
        "memories_used": card.used,
        "memories_written": card.written,
        "words_ms": [list(word) for word in card.words],
    }


def lines(card: Card) -> Iterator[tuple[int, int, str, str]]:
    """What was said in a turn: from, until, who, text. What was not heard is said so."""
    caller = "".join(span.text for span in card.caller)
    heard = "".join(span.text for span in card.heard)
    unheard = "".join(span.text for span in card.unheard)
    if caller:
        until = card.agent_ms if card.agent_ms > card.caller_ms else card.until_ms
        yield card.caller_ms, max(card.caller_ms, until), "Caller", caller
    if heard or unheard:
        text = f"{heard} [not heard: {unheard}]".strip() if unheard else heard
        yield card.agent_ms, max(card.agent_ms, card.until_ms), "Assistant", text


def as_text(cards: Iterable[Card]) -> str:
    """A line for each time somebody speaks: ``[0:12.3] Caller: …``."""
    return "".join(f"[{_stamp(at)}] {who}: {_one_line(text)}\n" for card in cards for at, _, who, text in lines(card))


def as_vtt(cards: Iterable[Card]) -> str:
    """WebVTT with voices (W3C). What could end a cue or open a tag is escaped."""
    cues = ["WEBVTT\n"]
    for card in cards:
        for at, until, who, text in lines(card):
            if at >= 0:
                shown = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
                cues.append(f"\n{_vtt(at)} --> {_vtt(max(until, at + 1))}\n<v {who}>{shown}\n")
    return "".join(cues)


def as_csv(cards: Iterable[Card]) -> str:
    """RFC 4180, a row for each time somebody speaks; a text that a spreadsheet would run begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["turn", "from_ms", "until_ms", "who", "text", "response_ms", "outcome"])
    for card in cards:
        for at, until, who, text in lines(card):
            response = card.response_ms if who == "Assistant" and card.response_ms is not None else ""
            writer.writerow([card.number, at, until, who, inert(text), response, card.outcome])
    return out.getvalue()


def as_line_json(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """A JSON object to a line."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n"


def one_side(path: Path, side: int) -> Iterator[bytes]:
    """A mono WAV of one side of a stereo recording, µ-law expanded as it is there. Raises ``OSError``."""
    size = max(0, path.stat().st_size - 44)
    yield _header(size // 2)
    with path.open("rb") as file:
        file.seek(44)
        while piece := file.read(_FRAMES * 4):
            whole = piece[: len(piece) // 4 * 4]
            yield b"".join(whole[at + side * 2 : at + side * 2 + 2] for at in range(0, len(whole), 4))


def _header(data_bytes: int) -> bytes:
    rate = mulaw.SAMPLE_RATE
    head = b"RIFF" + (data_bytes + 36).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    shape = (1).to_bytes(2, "little") * 2 + rate.to_bytes(4, "little") + (rate * 2).to_bytes(4, "little")
    return (
        head
        + shape
        + (2).to_bytes(2, "little")
        + (16).to_bytes(2, "little")
        + b"data"
        + data_bytes.to_bytes(4, "little")
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _stamp(at_ms: int) -> str:
    return f"{at_ms // 60_000}:{at_ms // 1000 % 60:02d}.{at_ms % 1000 // 100}" if at_ms >= 0 else "?"


def _vtt(at_ms: int) -> str:
    return f"{at_ms // 3_600_000:02d}:{at_ms // 60_000 % 60:02d}:{at_ms // 1000 % 60:02d}.{at_ms % 1000:03d}"
