"""The fault matrix as data: what is done to whom when, and what must follow. ``docs/resilience.md`` is printed from here."""

from __future__ import annotations

from dataclasses import dataclass

# --- own dependencies -----------------------------------------------------------------------------------------------

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
