"""Namespaces of a running stand-in: their settings, their faults and the journal of what they received."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from voiceagent.sandbox.script import Fault, Settings

Entry = dict[str, Any]
JOURNAL_ENTRIES = 20_000


def now_ms() -> float:
    """Milliseconds of the monotonic clock."""
    return time.monotonic() * 1000


@dataclass(slots=True)
class Journal:
    """What was received, one entry per request or connection, updated while it runs.

    Times are ms since the journal was begun; ``journal_from_ms`` says when that was, on the machine's monotonic clock.
    """

    started_at_ms: float = field(default_factory=now_ms)
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=JOURNAL_ENTRIES))
    opened: int = 0

    def open(self, endpoint: str, **facts: Any) -> Entry:
        """A new entry, kept and returned to be updated in place."""
        self.opened += 1
        entry: Entry = {
            "n": self.opened,
            "endpoint": endpoint,
            "journal_from_ms": self.started_at_ms,
            "at_ms": self.elapsed_ms(),
            "outcome": "open",
            **facts,
        }
        self.entries.append(entry)
        return entry

    def elapsed_ms(self) -> float:
        """Milliseconds since the journal was begun."""
        return round(now_ms() - self.started_at_ms, 3)

    def of(self, endpoint: str) -> list[Entry]:
        """Entries of an endpoint or of those below it (``cartesia``), oldest first."""
        return [entry for entry in self.entries if covers(endpoint, entry["endpoint"])]


def covers(prefix: str, endpoint: str) -> bool:
    """Whether ``prefix`` names the endpoint or a group that holds it."""
    return prefix in ("*", endpoint) or endpoint.startswith(prefix + ".")


@dataclass(slots=True)
class Namespace:
    """All that belongs to one credential."""

    key: str
    settings: Settings = field(default_factory=Settings)
    faults: list[Fault] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal)
    open_stt: int = 0
    open_contexts: int = 0

    def strike(self, endpoint: str, kinds: frozenset[str] | None = None, text: str = "") -> Fault | None:
        """The fault that this request (``text`` is what it says) meets, if any, among those of ``kinds``; counts it as met."""
        for fault in self.faults:
            if not covers(fault.endpoint, endpoint) or (kinds is not None and fault.kind not in kinds):
                continue
            if fault.contains not in text:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times == 1:
                self.faults.remove(fault)
            elif fault.times > 1:
                fault.times -= 1
            return fault.model_copy()
        return None


class State:
    """Namespaces by credential. ``defaults`` are the settings that a new one starts with."""

    def __init__(self, defaults: Settings | None = None) -> None:
        self.defaults = defaults or Settings()
        self._namespaces: dict[str, Namespace] = {}

    def namespace(self, key: str) -> Namespace:
        """The namespace of a credential, made at first use."""
        found = self._namespaces.get(key)
        if found is None:
            found = self._namespaces[key] = Namespace(key, self.defaults.model_copy(deep=True))
        return found

    def reset(self, key: str) -> None:
        """Forget a namespace: settings, faults and journal."""
        self._namespaces.pop(key, None)

    def keys(self) -> list[str]:
        """Credentials seen so far."""
        return sorted(self._namespaces)


STATE = web.AppKey("state", State)
