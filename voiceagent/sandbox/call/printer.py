"""The timeline on the terminal, as it happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voiceagent.sandbox.carrier import (
    ActionRequested,
    AgentStarted,
    AgentStopped,
    CallerStarted,
    Cleared,
    Dialed,
    DtmfSent,
    HungUp,
    ProtocolFault,
    Said,
    StatusPosted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    TimelineEvent,
    Updated,
    WebhookAnswered,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.call.transcript import Note
    from voiceagent.sandbox.carrier.timeline import Timeline


def _waited(ms: float | None) -> str:
    return "" if ms is None else f" {ms:.0f} ms after the caller stopped"


# What to say of each event: a label and a text. Events that are not here are too many to be read.
_LINES: dict[type[TimelineEvent], Callable[..., tuple[str, str]]] = {
    WebhookAnswered: lambda e: ("webhook", f"{e.status} in {e.took_ms:.0f} ms: {', '.join(e.verbs) or 'no TwiML'}"),
    StreamOpened: lambda e: ("stream", f"open, {e.stream_sid}"),
    StreamRefused: lambda e: ("stream", f"refused: {e.reason}"),
    StreamClosed: lambda e: ("stream", f"closed by {e.by}"),
    CallerStarted: lambda e: ("caller", f"“{e.label}”"),
    AgentStarted: lambda e: ("agent", f"begins to speak{_waited(e.after_caller_ms)}"),
    AgentStopped: lambda e: ("agent", "has stopped"),
    Cleared: lambda e: (
        "clear",
        f"{e.dropped_ms:.0f} ms unheard dropped"
        + ("" if e.after_caller_ms is None else f", {e.after_caller_ms:.0f} ms after the caller's first sound"),
    ),
    DtmfSent: lambda e: ("key", e.digit),
    Said: lambda e: ("says", e.text),
    Dialed: lambda e: ("transfer", f"{e.number}: {e.result}"),
    Updated: lambda e: ("REST", e.what),
    ActionRequested: lambda e: ("action", f"{e.status} {e.url}"),
    StatusPosted: lambda e: ("status", f"{e.call_status}: answered {e.answer}"),
    ProtocolFault: lambda e: ("fault", f"{e.code} {e.message}"),
    HungUp: lambda e: ("hung up", f"by the {e.by}: {e.reason}"),
}
_NOTES = {"understood": "heard as", "agent": "says", "function": "function", "result": "result"}


class Printer:
    """Prints one call; ``prefix`` tells several apart."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.timeline: Timeline | None = None

    def event(self, event: TimelineEvent) -> None:
        """A line of the timeline."""
        say = _LINES.get(type(event))
        if say is not None:
            self._line(event.at_ms, *say(event))

    def note(self, note: Note) -> None:
        """What was understood or said."""
        text = f"“{note.text}”" if note.kind in ("understood", "agent") else note.text
        self._line(self.timeline.now_ms() if self.timeline else 0.0, _NOTES.get(note.kind, note.kind), text)

    def _line(self, at_ms: float, label: str, text: str) -> None:
        write(f"{self._prefix}{at_ms / 1000:8.2f} s  {label:<9} {text}")


def write(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
