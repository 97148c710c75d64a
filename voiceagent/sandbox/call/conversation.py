"""One call with a script: speaks when a person would, and notices what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from voiceagent.sandbox.carrier import AgentStarted, CallFailedError, Cleared, HungUp, ProtocolFault, TimelineEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.call.lines import Line, Script
    from voiceagent.sandbox.call.transcript import Note, TranscriptSource
    from voiceagent.sandbox.carrier import PhoneCall

GREETING_S = 12.0
ANSWER_S = 15.0
STOP_MS = 1000
HANG_UP_S = 20.0
_ALIKE = 0.6
# Faults that are part of an ordinary call: 31921 is logged for every stream that the server closes.
_HARMLESS = frozenset({31921})


@dataclass(slots=True)
class Outcome:
    """What came of a call. Without problems it went well."""

    problems: list[str] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    agent: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)


class _HungUpError(Exception):
    """The call ended before its script did."""


class Conversation:
    """Runs a script over a call that has not begun."""

    def __init__(
        self,
        call: PhoneCall,
        script: Script,
        digits: str,
        source: TranscriptSource,
        tell: Callable[[Note], None],
    ) -> None:
        self._call, self._script, self._digits, self._source, self._tell = call, script, digits, source, tell
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """The whole call."""
        problems = self.outcome.problems
        try:
            await self._call.start()
        except CallFailedError as error:
            problems.append(f"the call did not come about: {error}")
            return self.outcome
        listening = asyncio.create_task(self._source.follow(self._call, self._note))
        try:
            await self._talk()
        except _HungUpError:
            over = self._call.timeline.last(HungUp)
            problems.append(f"the call ended early: {over.reason if over else 'unknown'}")
        finally:
            if self._call.is_up:
                await self._call.hang_up()
            await self._call.wait_until_over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await listening
        self._check()
        return self.outcome

    def _note(self, note: Note) -> None:
        kept = {"understood": self.outcome.understood, "agent": self.outcome.agent, "function": self.outcome.functions}
        if note.kind in kept and note.text:
            kept[note.kind].append(note.text)
        self._tell(note)

    async def _talk(self) -> None:
        if not await self._answered(0, GREETING_S):
            self.outcome.problems.append(f"no greeting within {GREETING_S:g} s")
        for line in self._script.lines:
            await self._say(line)
        if self._digits:
            await self._quiet(0)
            position = len(self._call.timeline.events)
            await self._call.dtmf(self._digits)
            await self._answered(position, ANSWER_S)
        if self._script.ends_by_server:
            try:
                await self._call.wait_until_over(HANG_UP_S)
            except TimeoutError:
                self.outcome.problems.append(f"the agent did not hang up within {HANG_UP_S:g} s of the goodbye")
        else:
            await self._quiet(0)

    async def _say(self, line: Line) -> None:
        if line.barge_in_after_ms is None:
            await self._quiet(line.patience_ms)
        else:
            await asyncio.sleep(line.barge_in_after_ms / 1000)
        if not self._call.is_up:
            raise _HungUpError
        interrupts = self._call.agent_speaks
        position = len(self._call.timeline.events)
        await self._call.speak(line.audio, line.text)
        if line.barge_in_after_ms is not None:
            self._check_stop(position, interrupts, line)
        if not await self._answered(position, ANSWER_S):
            self.outcome.problems.append(f"no answer to “{line.text}” within {ANSWER_S:g} s")

    def _check_stop(self, position: int, interrupts: bool, line: Line) -> None:
        """The agent must have fallen silent for an interruption."""
        if not interrupts:
            self.outcome.problems.append(f"“{line.text}” was to interrupt, but the agent had already stopped")
        elif not any(isinstance(event, Cleared) for event in self._call.timeline.events[position:]):
            self.outcome.problems.append(f"the agent did not stop for “{line.text}”")

    async def _answered(self, position: int, within_s: float) -> bool:
        """Wait until the agent speaks; false if it does not. Raises :class:`_HungUpError`."""
        try:
            event = await self._call.wait_for(
                TimelineEvent, lambda e: isinstance(e, AgentStarted | HungUp), after=position, timeout_s=within_s
            )
        except TimeoutError:
            return False
        if isinstance(event, HungUp):
            raise _HungUpError
        if isinstance(event, AgentStarted) and event.after_caller_ms is not None:
            self.outcome.waits_ms.append(event.after_caller_ms)
        return True

    async def _quiet(self, patience_ms: int) -> None:
        """Until the agent has been silent for that long on top of what shows that it has stopped."""
        while True:
            await self._call.wait_for_quiet()
            await asyncio.sleep(patience_ms / 1000)
            if not self._call.agent_speaks:
                return

    def _check(self) -> None:
        call, outcome = self._call, self.outcome
        outcome.problems += [
            f"protocol error {fault.code}: {fault.message}"
            for fault in call.timeline.all(ProtocolFault)
            if fault.code not in _HARMLESS
        ]
        if not self._source.knows_words:
            return
        outcome.problems += [
            f"the function {name} was not called"
            for name in self._script.functions
            if outcome.functions and not any(called.startswith(name) for called in outcome.functions)
        ]
        if self._script.functions and outcome.understood and not outcome.functions:
            outcome.problems.append(f"the function {self._script.functions[0]} was not called")
        if outcome.understood:
            self._check_words()
        said = " ".join(outcome.agent).lower()
        outcome.problems += [
            f"the agent never said “{line.expects}”"
            for line in self._script.lines
            if line.expects and outcome.agent and line.expects.lower() not in said
        ]

    def _check_words(self) -> None:
        spoken = plain(" ".join(line.text for line in self._script.lines))
        heard = plain(" ".join(self.outcome.understood))
        alike = SequenceMatcher(None, spoken, heard, autojunk=False).ratio()
        if self._script.functions and alike < _ALIKE:
            self.outcome.problems.append(f"only {alike:.0%} of the caller's words were recognised")


def plain(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())
