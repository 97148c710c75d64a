"""The tables: who answers (agents) and what happened (calls)."""

from __future__ import annotations

from calls.models.agent import Agent, AgentNumber, AgentVersion
from calls.models.booking import Booking
from calls.models.breaker import CircuitBreaker
from calls.models.call import Call, CallEvent, Recording, Turn, Waveform
from calls.models.meaning import TurnMeaning
from calls.models.phrase import PhraseRecording

__all__ = [
    "Agent",
    "AgentNumber",
    "AgentVersion",
    "Booking",
    "Call",
    "CallEvent",
    "CircuitBreaker",
    "PhraseRecording",
    "Recording",
    "Turn",
    "TurnMeaning",
    "Waveform",
]
