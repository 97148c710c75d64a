"""What happened in a call, as the phone network saw it. Times are milliseconds since the call began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Anything on a call's timeline."""

    at_ms: float


@dataclass(frozen=True, slots=True)
class WebhookAnswered(TimelineEvent):
    """The server answered a request for TwiML."""

    url: str
    status: int
    took_ms: float
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamOpened(TimelineEvent):
    """The server accepted the media stream; ``start`` has been sent."""

    url: str
    stream_sid: str


@dataclass(frozen=True, slots=True)
class StreamRefused(TimelineEvent):
    """The upgrade failed (31920)."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamClosed(TimelineEvent):
    """The stream is over. ``by`` is ``server``, ``caller``, ``redirect`` or ``error``; ``code`` of the close frame."""

    by: str
    code: int | None


@dataclass(frozen=True, slots=True)
class CallerStarted(TimelineEvent):
    """The first voiced frame of something the caller says was sent."""

    label: str


@dataclass(frozen=True, slots=True)
class CallerStopped(TimelineEvent):
    """The last voiced frame was sent; the time is its end."""

    label: str


@dataclass(frozen=True, slots=True)
class AgentStarted(TimelineEvent):
    """The caller begins to hear the agent after a pause. ``after_caller_ms``: since the caller's last voiced frame.

    ``after_key_ms``: since the caller's last key, where that came later. Neither while the caller is speaking, nor
    where the agent goes on after a pause of its own.
    """

    after_caller_ms: float | None
    after_key_ms: float | None = None


@dataclass(frozen=True, slots=True)
class AgentStopped(TimelineEvent):
    """The last voiced frame that the caller heard before a pause; the event is told at the end of the pause."""


@dataclass(frozen=True, slots=True)
class MarkTaken(TimelineEvent):
    """The server queued a mark."""

    name: str


@dataclass(frozen=True, slots=True)
class MarkReturned(TimelineEvent):
    """A mark went back: because it was ``played``, or because of a ``clear``."""

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Cleared(TimelineEvent):
    """The server emptied the play queue. ``after_caller_ms``: since the caller's first voiced frame of this speech.

    ``after_key_ms``: since the caller's last key, where that came later.
    """

    dropped_ms: float
    after_caller_ms: float | None
    after_key_ms: float | None = None


@dataclass(frozen=True, slots=True)
class DtmfSent(TimelineEvent):
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class ProtocolFault(TimelineEvent):
    """The server broke a rule; ``code`` is the number that the carrier logs."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Said(TimelineEvent):
    """``<Say>`` or ``<Play>``: its text or address."""

    text: str


@dataclass(frozen=True, slots=True)
class Dialed(TimelineEvent):
    """``<Dial>``: the caller was transferred."""

    number: str
    result: str


@dataclass(frozen=True, slots=True)
class Updated(TimelineEvent):
    """The call was changed over REST: ``completed``, ``canceled``, ``twiml`` or ``url``."""

    what: str


@dataclass(frozen=True, slots=True)
class ActionRequested(TimelineEvent):
    """A verb's ``action`` was asked for what comes next."""

    url: str
    status: int


@dataclass(frozen=True, slots=True)
class StatusPosted(TimelineEvent):
    """A status callback was delivered; ``answer`` is the HTTP status, 0 if there was none."""

    call_status: str
    answer: int


@dataclass(frozen=True, slots=True)
class HungUp(TimelineEvent):
    """The call is over. ``by`` is ``caller``, ``server`` or ``network``."""

    by: str
    reason: str
