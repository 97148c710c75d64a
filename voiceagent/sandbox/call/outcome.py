"""What came of a call: its figures, how it ended in words, and the likely cause where it did not come about."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import WSCloseCode

from voiceagent.sandbox.carrier import (
    HungUp,
    ProtocolFault,
    Said,
    StatusPosted,
    StreamClosed,
    StreamRefused,
    WebhookAnswered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voiceagent.sandbox.carrier import PhoneCall
    from voiceagent.sandbox.carrier.timeline import Timeline

# Faults that are part of an ordinary call: 31921 is logged for every stream that the server closes.
_HARMLESS = frozenset({31921})
_WEBHOOK_ADVICE = {
    403: "the server does not take the signature: --auth-token must be its TWILIO_AUTH_TOKEN, --url its PUBLIC_BASE_URL",
    404: "there is no voice webhook at this address: --url must be the server's PUBLIC_BASE_URL",
}


@dataclass(slots=True)
class Outcome:
    """What came of a call. Without problems it went well.

    ``turns``: things said or keyed that the agent answered. Waits: from the end of the caller's words, or from the
    last key, to the first sound of the answer.
    """

    problems: list[str] = field(default_factory=list)
    turns: int = 0
    waits_ms: list[float] = field(default_factory=list)
    key_waits_ms: list[float] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    agent: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)


def waited(outcomes: Sequence[Outcome]) -> str:
    """How long answers took to begin: to words and to keys apart. Empty if there were none."""
    kinds = {
        "the caller stopped": [wait for outcome in outcomes for wait in outcome.waits_ms],
        "the last key": [wait for outcome in outcomes for wait in outcome.key_waits_ms],
    }
    return "; ".join(f"{_figures(waits)} after {since}" for since, waits in kinds.items() if waits)


def _figures(waits_ms: Sequence[float]) -> str:
    if len(waits_ms) == 1:
        return f"1 answer began {waits_ms[0]:.0f} ms"
    return (
        f"{len(waits_ms)} answers began {statistics.median(waits_ms):.0f} ms (median), at most {max(waits_ms):.0f} ms"
    )


def how_it_ended(timeline: Timeline) -> str:
    """The end of a call in words."""
    if (lost := lost_stream(timeline)) is not None:
        return lost
    over = timeline.last(HungUp)
    return f"hung up {by_whom(over)}" if over else "not over"


def by_whom(over: HungUp) -> str:
    """Who hung up, and why unless that is the caller's own affair."""
    return "by the caller" if over.by == "caller" else f"by the {over.by}: {over.reason}"


def lost_stream(timeline: Timeline) -> str | None:
    """How the server dropped the media stream, if it did not close it in order."""
    closed = timeline.last(StreamClosed)
    if closed is None or closed.by != "server" or closed.code == WSCloseCode.OK:
        return None
    code = closed.code or WSCloseCode.ABNORMAL_CLOSURE
    try:
        name = WSCloseCode(code).name.replace("_", " ").lower()
    except ValueError:
        name = "unknown"
    return f"the server dropped the media stream (close code {code}: {name})"


def why_it_did_not_come_about(call: PhoneCall, reason: str) -> str:
    """The cause of a call that never had a stream, as far as the caller's side can tell."""
    timeline = call.timeline
    if (refused := timeline.last(StreamRefused)) is not None:
        return f"the stream {refused.url} was refused: {refused.reason}"
    if said := [event.text for event in timeline.all(Said)]:
        return f"the server said “{' '.join(said)}” and hung up"
    if reason.startswith("rejected"):
        return (
            f"{reason}: the server has as many calls as it takes (MAX_CALLS), is overloaded or is stopping, "
            "or this number calls too often (CALLS_PER_NUMBER_PER_MINUTE)"
        )
    answered = timeline.last(WebhookAnswered)
    advice = _WEBHOOK_ADVICE.get(answered.status) if answered is not None else None
    return f"{reason}; {advice}" if advice else reason


def protocol_problems(timeline: Timeline) -> list[str]:
    """What the server did wrong on the wire, status callbacks included."""
    faults = [
        f"protocol error {fault.code}: {fault.message}"
        for fault in timeline.all(ProtocolFault)
        if fault.code not in _HARMLESS
    ]
    return faults + [
        f"the status callback “{posted.call_status}” was {'answered ' + str(posted.answer) if posted.answer else 'not answered'}"
        for posted in timeline.all(StatusPosted)
        if not 200 <= posted.answer < 300
    ]
