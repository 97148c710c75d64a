"""The timeline on the terminal, as it happens."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from voiceagent.sandbox.call.outcome import by_whom
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

    from voiceagent.sandbox.call.narration import Note
    from voiceagent.sandbox.carrier.timeline import Timeline


def _waited(event: AgentStarted | Cleared, before: str, speech: str) -> str:
    """How long after what the caller did: ``speech`` names what counts of words."""
    waits = {speech: event.after_caller_ms, "the last key": event.after_key_ms}
    return "".join(f"{before} {ms:.0f} ms after {since}" for since, ms in waits.items() if ms is not None)


# What to say of each event: a label and a text. Events that are not here are too many to be read.
_LINES: dict[type[TimelineEvent], Callable[..., tuple[str, str]]] = {
    WebhookAnswered: lambda e: ("webhook", f"{e.status} in {e.took_ms:.0f} ms: {', '.join(e.verbs) or 'no TwiML'}"),
    StreamOpened: lambda e: ("stream", f"open, {e.stream_sid}"),
    StreamRefused: lambda e: ("stream", f"refused: {e.reason}"),
    StreamClosed: lambda e: ("stream", f"closed by {e.by}"),
    CallerStarted: lambda e: ("caller", f"“{e.label}”"),
    AgentStarted: lambda e: ("agent", f"begins to speak{_waited(e, '', 'the caller stopped')}"),
    AgentStopped: lambda e: ("agent", "has stopped"),
    Cleared: lambda e: (
        "clear",
        f"{e.dropped_ms:.0f} ms unheard dropped{_waited(e, ',', 'the first sound of the caller')}",
    ),
    DtmfSent: lambda e: ("key", e.digit),
    Said: lambda e: ("says", f"“{e.text}”"),
    Dialed: lambda e: ("transfer", f"{e.number}: {e.result}"),
    Updated: lambda e: ("REST", e.what),
    ActionRequested: lambda e: ("action", f"{e.status} {e.url}"),
    StatusPosted: lambda e: ("status", f"{e.call_status}: {f'answered {e.answer}' if e.answer else 'not answered'}"),
    ProtocolFault: lambda e: ("fault", f"{e.code} {e.message}"),
    HungUp: lambda e: ("hung up", by_whom(e)),
}
_NOTES = {"understood": "heard as", "agent": "says"}
_QUOTED = {"understood": "“{}”", "agent": "“{}”", "cut off": "after “{}”"}


class Printer:
    """Prints one call; ``prefix`` tells several apart."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._last_ms = 0.0
        self.timeline: Timeline | None = None

    def event(self, event: TimelineEvent) -> None:
        """A line of the timeline."""
        say = _LINES.get(type(event))
        if say is not None:
            self._line(event.at_ms, *say(event))

    def note(self, note: Note) -> None:
        """What was understood or said."""
        text = _QUOTED.get(note.kind, "{}").format(note.text)
        now_ms = self.timeline.now_ms() if self.timeline else 0.0
        self._line(now_ms if note.at_ms is None else note.at_ms, _NOTES.get(note.kind, note.kind), text)

    def _line(self, at_ms: float, label: str, text: str) -> None:
        """The times of the lines never run backwards: what is told late says when it was."""
        late = f" (at {at_ms / 1000:.2f} s)" if round(at_ms / 10) < round(self._last_ms / 10) else ""
        self._last_ms = max(at_ms, self._last_ms)
        write(f"{self._prefix}{self._last_ms / 1000:8.2f} s  {label:<9} {text}{late}")


def write(line: str) -> None:
    """One line, at once. A reader who has gone, as `head` does, does not end the call."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
