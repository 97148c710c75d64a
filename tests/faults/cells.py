"""The fault matrix as data: what is done to whom when, and what must follow. ``docs/resilience.md`` is printed from here."""

from __future__ import annotations

from dataclasses import dataclass

# --- vendors ----------------------------------------------------------------------------------------------------------

VENDORS = {"STT": "Cartesia, hearing", "TTS": "Cartesia, speaking", "LLM": "OpenAI", "REST": "Twilio's REST interface"}
STATES = ("connecting", "listening", "thinking", "speaking")
FAULTS = {
    "refuse": "open connections are reset, new ones too, before an answer",
    "time-out": "open connections are reset, new ones get no answer",
    "hang": "connections stay open; nothing more is heard on them, and new ones get no answer",
    "cut": "the open connection is reset once; where none is open, the next one in the middle of its first answer",
    "garbage": "rubbish once in the open connection, or as the answer of the next one",
    "429": "open connections are reset, new ones answered with status 429",
    "slow": "every answer comes 0.7 s late, of Redis and PostgreSQL 0.15 s",
}

#: What the caller hears, and how the turn under the fault is recorded.
ANSWERED, FALLBACK = "answered", "failed_to_fallback"


@dataclass(frozen=True, slots=True)
class Cell:
    """A vendor's fault at a state of the call.

    ``hears``: what the caller hears from then to the end of the turn; ``answer`` is the whole answer, each word once, a
    phrase stands by its key. ``waits``: the deadlines (settings of the agent's policy or of the vendors) that may
    pass, one after the other, before the caller hears something, on top of an ordinary turn. ``causes``: what may stand in the
    turn's record as failed; one of them must, unless ``silent``. ``end``: how the call ends; where it is the caller who hangs
    up, the next turn has worked.
    """

    vendor: str
    fault: str
    state: str
    hears: tuple[str, ...]
    turn: str = ANSWERED
    causes: tuple[str, ...] = ()
    silent: bool = False
    waits: tuple[str, ...] = ()
    end: str = "caller_hung_up"

    @property
    def id(self) -> str:
        """Its name as a test."""
        return f"{self.vendor}-{self.fault}-{self.state}"

    @property
    def is_quick(self) -> bool:
        """Whether `make test` plays it: each fault of a vendor in one state, and in each state some. `make test-long` plays all."""
        place = [*VENDORS].index(self.vendor) + [*FAULTS].index(self.fault)
        return self.vendor == "REST" or STATES[place % len(STATES)] == self.state


def _unnoticed(vendor: str, faults: str, states: str, hears: str = "answer", *causes: str) -> list[Cell]:
    """Faults of which the caller notices nothing: what may stand in the record need not."""
    return [
        Cell(vendor, fault, state, ("greeting",) if state == "connecting" else (hears,), causes=causes, silent=True)
        for fault in faults.split()
        for state in states.split()
    ]


_LASTING = "refuse time-out hang 429"
_EAR = ("ear:refused", "ear:timeout", "ear:cut", "ear:hung", "ear:open", "ear:rate_limited", "ear:garbage")
#: A recogniser that is away for a second: what was said meanwhile is transcribed apart and answered, later.
STT = [
    *_unnoticed("STT", f"{_LASTING} cut garbage slow", "connecting", "greeting", *_EAR),
    *_unnoticed("STT", f"{_LASTING} cut garbage slow", "thinking speaking", "answer", *_EAR),
    *[
        Cell("STT", fault, "listening", ("answer",), causes=_EAR, silent=True, waits=("ear_back_ms",))
        for fault in (*_LASTING.split(), "cut", "garbage")
    ],
    Cell("STT", "slow", "listening", ("answer",), causes=_EAR, silent=True, waits=("slow_ms", "slow_ms")),
]

_VOICE = (
    "voice:refused",
    "voice:timeout",
    "voice:hung",
    "voice:overdue",
    "voice:open",
    "voice:rate_limited",
    "voice:cut",
)
_VOICE_WAITS = ("first_audio_ms", "first_audio_ms")
TTS = [
    *[
        Cell("TTS", fault, state, ("voice_failed",), FALLBACK, _VOICE, waits=_VOICE_WAITS)
        for fault in _LASTING.split()
        for state in ("connecting", "listening", "thinking")
    ],
    *[
        Cell("TTS", fault, "speaking", ("answer (beginning)", "voice_failed"), FALLBACK, _VOICE, waits=_VOICE_WAITS)
        for fault in _LASTING.split()
    ],
    *_unnoticed("TTS", "cut garbage", "connecting listening thinking", "answer", "voice:refused", "voice:cut"),
    *[
        Cell("TTS", fault, "speaking", ("answer",), causes=(cause,), waits=("slow_ms",))
        for fault, cause in (("cut", "voice:cut"), ("garbage", "voice:garbage"))
    ],
    *[
        Cell("TTS", "slow", state, (hears,), causes=_VOICE, silent=True, waits=("slow_ms", "slow_ms"))
        for state, hears in zip(STATES, ("greeting", "answer", "answer", "answer"), strict=True)
    ],
]

_MODEL = ("model:refused", "model:timeout", "model:overdue", "model:rate_limited", "model:cut", "model:hung")
LLM = [
    *_unnoticed("LLM", f"{_LASTING} cut garbage slow", "connecting", "greeting"),
    *[
        Cell("LLM", fault, state, ("model_failed",), FALLBACK, _MODEL, waits=("retry_ms",))
        for fault in ("refuse", "429")
        for state in ("listening", "thinking")
    ],
    *[
        Cell("LLM", fault, state, ("filler", "model_failed"), FALLBACK, _MODEL, waits=("first_token_ms",))
        for fault in ("time-out", "hang")
        for state in ("listening", "thinking")
    ],
    *[
        Cell("LLM", fault, state, ("answer",), causes=(*_MODEL, "model:garbage"), silent=True, waits=("retry_ms",))
        for fault in ("cut", "garbage")
        for state in ("listening", "thinking")
    ],
    *[
        Cell("LLM", fault, "speaking", ("answer (beginning)", "apology"), FALLBACK, _MODEL)
        for fault in ("refuse", "time-out", "429")
    ],
    Cell(
        "LLM",
        "hang",
        "speaking",
        ("answer (beginning)", "filler", "apology"),
        FALLBACK,
        _MODEL,
        waits=("first_token_ms",),
    ),
    *[
        Cell("LLM", fault, "speaking", ("answer",), causes=(*_MODEL, "model:garbage"), waits=("retry_ms",))
        for fault in ("cut", "garbage")
    ],
    *[
        Cell("LLM", "slow", state, ("answer",), causes=_MODEL, silent=True, waits=("slow_ms", "slow_ms"))
        for state in ("listening", "thinking", "speaking")
    ],
]

#: The agent says goodbye and the carrier is asked to hang up: whatever comes of that, the call is over.
REST = [
    Cell("REST", fault, "speaking", ("goodbye",), end="agent_hung_up", waits=("hangup_grace_ms",)) for fault in FAULTS
]


ALL = [*STT, *TTS, *LLM, *REST]

#: What a caller may wait for that no setting bounds. ``ear_back_ms``: a second's outage, the next attempt, and the batch
#: request for what was said meanwhile. ``retry_ms``: the pause before a model is asked again, and its first word.
OTHER_WAITS_MS = {"slow_ms": 700, "ear_back_ms": 6000, "retry_ms": 1000}

# --- own dependencies -----------------------------------------------------------------------------------------------

OWN_FAULTS = {
    "away": "connections are reset, new ones refused",
    "silent": "connections stay open; nothing is heard on them",
    "flapping": "away for 0.35 s, there for 0.25 s, and so on",
}
MOMENTS = {"start": "a call begins", "middle": "a call is in progress", "end": "a call ends"}


@dataclass(frozen=True, slots=True)
class Own:
    """Own dependencies in trouble while calls begin, go on and end.

    ``later_ms``: how much later than else a caller whose call begins is greeted, at the most. Everything else is as always.
    """

    who: tuple[str, ...]
    fault: str
    later_ms: int = 0

    @property
    def id(self) -> str:
        """Its name as a test."""
        return f"{'+'.join(self.who)}-{self.fault}"

    @property
    def is_quick(self) -> bool:
        """Whether `make test` plays it: what is away and what says nothing. `make test-long` plays all."""
        return self.fault in ("away", "silent")


#: Tickets wait for Redis half a second, then this process keeps its own; an agent is looked up for two seconds at the most,
#: then the one that answered last answers again.
REDIS = [
    Own(("Redis",), "away"),
    Own(("Redis",), "silent", later_ms=500),
    Own(("Redis",), "slow", later_ms=500),
    Own(("Redis",), "flapping", later_ms=500),
]
POSTGRES = [
    Own(("PostgreSQL",), "away"),
    Own(("PostgreSQL",), "silent", later_ms=2000),
    Own(("PostgreSQL",), "slow", later_ms=2000),
    Own(("PostgreSQL",), "flapping", later_ms=2000),
]
BOTH = [
    Own(("Redis", "PostgreSQL"), "away"),
    Own(("Redis", "PostgreSQL"), "silent", later_ms=2500),
    Own(("Redis", "PostgreSQL"), "flapping", later_ms=2500),
]
#: No worker takes what is handed over, whatever the broker does: the sweeper archives. The channel layer is at the broker's.
QUEUE = [
    Own(("Celery worker",), "away"),
    Own(("Celery broker", "Channel layer"), "away"),
    Own(("Celery broker", "Channel layer"), "silent"),
    Own(("Celery broker", "Channel layer"), "flapping"),
]
OWN = [*REDIS, *POSTGRES, *BOTH, *QUEUE]
