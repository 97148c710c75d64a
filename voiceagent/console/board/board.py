"""What one page of the board knows: the rows of all processes, kept true by their batches. Time is an argument.

Each process numbers its batches. One that comes too late is dropped; where one is missing, everything has to be read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from voiceagent.console.board import rows as wording
from voiceagent.console.board.strip import strip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from calls.livefeed import Shot

#: A process that has told nothing for so long may be dead: it tells something every second.
UNHEARD_MS: Final = 4_000
ANSWERS_MS: Final = 5 * 60_000
ERRORS_MS: Final = 15 * 60_000
_MOST_TOLD: Final = 5_000


@dataclass(slots=True)
class _Process:
    about: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    heard_ms: int


@dataclass
class Board:
    """One page's view. ``redact`` is what is done to words for its reader; ``linger_ms`` how long a lost call is shown."""

    linger_ms: int
    redact: Callable[[str], str] = wording.plain
    probes: dict[str, bool] = field(default_factory=dict)
    nth_calls: dict[str, int | None] = field(default_factory=dict)
    _processes: dict[str, _Process] = field(default_factory=dict)
    _lost: dict[str, dict[str, Any]] = field(default_factory=dict)
    _latencies: deque[Any] = field(default_factory=lambda: deque(maxlen=_MOST_TOLD))
    _errors: deque[Any] = field(default_factory=lambda: deque(maxlen=_MOST_TOLD))
    _told: dict[str, dict[str, Any]] = field(default_factory=dict)
    _worded: dict[str, tuple[Any, int | None, dict[str, Any]]] = field(default_factory=dict)
    _told_strip: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read_by(self, redact: Callable[[str], str]) -> None:
        """From now on this is done to words before they are shown."""
        if redact is not self.redact:
            self.redact = redact
            self._worded.clear()

    # --- what comes in ----------------------------------------------------------------------------------------------

    def see(self, shots: Iterable[Shot], now_ms: int) -> None:
        """Everything, as the processes' hashes have it. Calls of a process that is gone are lost."""
        found = {shot.process: shot for shot in shots}
        for name in [name for name in self._processes if name not in found]:
            self._lose(self._processes.pop(name), now_ms)
        self._latencies.clear()
        self._errors.clear()
        for name, shot in found.items():
            about = dict(shot.about)
            self._latencies += about.pop("latencies")
            self._errors += about.pop("errors")
            self._processes[name] = _Process(about, dict(shot.rows), now_ms)
            for call_sid in shot.rows:
                self._lost.pop(call_sid, None)

    def hear(self, process: str, number: int, batch: bytes, now_ms: int) -> bool:
        """A batch. ``False`` where one before it was missed, or the process is new: everything has to be read."""
        known = self._processes.get(process)
        last = known.about.get("number", 0) if known is not None else -1
        if known is None or number > last + 1:
            return False
        if number <= last:
            return True  # the snapshot had it
        told = orjson.loads(batch)
        if told["about"].get("closed"):
            del self._processes[process]
            return True
        known.about, known.heard_ms = told["about"], now_ms
        known.rows.update((row["call_sid"], row) for row in told["rows"])
        for call_sid in told["gone"]:
            known.rows.pop(call_sid, None)
        self._latencies += told["latencies"]
        self._errors += told["errors"]
        return True

    def unheard(self, now_ms: int) -> bool:
        """Whether a process has been silent for so long that it may be dead."""
        return any(now_ms - process.heard_ms > UNHEARD_MS for process in self._processes.values())

    def age(self, now_ms: int) -> None:
        """Time has passed."""
        over = [sid for sid, facts in self._lost.items() if now_ms - facts["ended_at"] >= self.linger_ms]
        for call_sid in over:
            del self._lost[call_sid]
        for told, keep_ms in ((self._latencies, ANSWERS_MS), (self._errors, ERRORS_MS)):
            while told and told[0][0] < now_ms - keep_ms:
                told.popleft()

    def _lose(self, process: _Process, now_ms: int) -> None:
        for call_sid, facts in process.rows.items():
            if not facts["ended_at"]:
                self._lost[call_sid] = wording.lost(facts, now_ms)

    # --- what goes out ----------------------------------------------------------------------------------------------

    @property
    def unknown(self) -> list[str]:
        """Calls of which it is not known which of their caller's calls they are."""
        return [call_sid for call_sid in self._facts() if call_sid not in self.nth_calls]

    def whole(self) -> dict[str, Any]:
        """Everything there is to show."""
        self._told = {call_sid: self._shown(facts) for call_sid, facts in self._facts().items()}
        self._told_strip = self._strip()
        return {"rows": list(self._told.values()), "strip": self._told_strip}

    def changes(self, *, figures: bool = False) -> dict[str, Any]:
        """What looks different than it was shown last: fields of rows by call, calls that left, and, if they are wanted, the
        six ``figures``. Empty: nothing."""
        now = {call_sid: self._shown(facts) for call_sid, facts in self._facts().items()}
        rows = {}
        for call_sid, row in now.items():
            before = self._told.get(call_sid)
            if before is None:
                rows[call_sid] = row
            elif row != before:
                rows[call_sid] = {name: value for name, value in row.items() if before[name] != value}
        gone = [call_sid for call_sid in self._told if call_sid not in now]
        self._told = now
        for call_sid in gone:
            self.nth_calls.pop(call_sid, None)
            self._worded.pop(call_sid, None)
        found = {"rows": rows, "gone": gone, "strip": self._new_figures() if figures else {}}
        return {name: value for name, value in found.items() if value}

    def _new_figures(self) -> dict[str, dict[str, Any]]:
        now = self._strip()
        before, self._told_strip = self._told_strip, now
        return {name: figure for name, figure in now.items() if before.get(name) != figure}

    def facts_of(self, call_sid: str) -> Mapping[str, Any] | None:
        """One call's facts."""
        return self._facts().get(call_sid)

    def _facts(self) -> dict[str, dict[str, Any]]:
        return self._lost | {sid: facts for process in self._processes.values() for sid, facts in process.rows.items()}

    def _shown(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Worded once for each time that it is told."""
        call_sid = facts["call_sid"]
        nth_call = self.nth_calls.get(call_sid)
        known = self._worded.get(call_sid)
        if known is None or known[0] is not facts or known[1] != nth_call:
            known = self._worded[call_sid] = (facts, nth_call, wording.shown(facts, nth_call, self.redact))
        return known[2]

    def _strip(self) -> dict[str, dict[str, Any]]:
        abouts = [process.about for process in self._processes.values()]
        return strip(self._told.values(), abouts, self._latencies, self._errors, self.probes)
