"""One call with a script: speaks when a person would, and notices what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from voiceagent.sandbox.call.narration import Note
from voiceagent.sandbox.call.outcome import (
    Outcome,
    how_it_ended,
    lost_stream,
    protocol_problems,
    why_it_did_not_come_about,
)
from voiceagent.sandbox.call.transcript import SourceError
from voiceagent.sandbox.carrier import (
    AgentStarted,
    AgentStopped,
    CallerStarted,
    CallerStopped,
    CallFailedError,
    Cleared,
    DtmfSent,
    HungUp,
    TimelineEvent,
)
from voiceagent.sandbox.sound import FRAME_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from voiceagent.sandbox.call.lines import Line, Script
    from voiceagent.sandbox.call.transcript import TranscriptSource
    from voiceagent.sandbox.carrier import PhoneCall

GREETING_S = 12.0
ANSWER_S = 15.0
SPEECH_S = 60.0
STOP_MS = 1000
HANG_UP_S = 20.0
# For what the server still writes of a call that is over.
_LAST_WORDS_S = 10.0
_ALIKE = 0.6
_DONE = "when all was said"


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
        self._knows_words = source.knows_words
        self._stage = "before the greeting"
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """The whole call. Where it is cancelled it hangs up first."""
        listening: asyncio.Task[None] | None = None
        try:
            await self._call.start()
            listening = asyncio.create_task(self._follow())
            await self._talk()
        except CallFailedError as error:
            self._problem(f"the call did not come about: {why_it_did_not_come_about(self._call, str(error))}")
        except _HungUpError:
            self._problem(f"the call ended {self._stage}: {how_it_ended(self._call.timeline)}")
        finally:
            await self._hang_up()
            if listening is not None:
                await self._last_words(listening)
        if self._call.stream is not None:
            self._check()
        return self.outcome

    def _problem(self, text: str) -> None:
        self.outcome.problems.append(text)

    async def _hang_up(self) -> None:
        try:
            if self._call.is_up:
                await self._call.hang_up()
            await self._call.wait_until_over()
        except TimeoutError:
            self._problem("the server did not answer what it was told of the call's end")

    # The words -------------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            await self._source.follow(self._call, self._note)
        except SourceError as error:
            self._knows_words = False
            self._problem(str(error))
            self._tell(Note("warning", str(error)))

    async def _last_words(self, listening: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await listening
        except TimeoutError:
            self._knows_words = False
            self._problem(f"the words of the call were not complete {_LAST_WORDS_S:g} s after its end")

    def _note(self, note: Note) -> None:
        kept = {"understood": self.outcome.understood, "agent": self.outcome.agent, "function": self.outcome.functions}
        if note.kind in kept and note.text:
            kept[note.kind].append(note.text)
        self._tell(note)

    # The script ------------------------------------------------------------------------------------------------------

    async def _talk(self) -> None:
        if not await self._answered(0, GREETING_S):
            self._problem(f"no greeting within {GREETING_S:g} s")
        for line in self._script.lines:
            await self._say(line)
        if self._digits:
            await self._press()
        self._stage = _DONE
        if not self._script.ends_by_server:
            await self._quiet(0)
            return
        try:
            await self._call.wait_until_over(HANG_UP_S)
        except TimeoutError:
            self._problem(f"the agent did not hang up within {HANG_UP_S:g} s of the goodbye")

    async def _say(self, line: Line) -> None:
        self._stage = f"before “{line.text}” was said"
        if line.barge_in_after_ms is None:
            await self._quiet(line.patience_ms)
        else:
            await asyncio.sleep(line.barge_in_after_ms / 1000)
        if not self._call.is_up:
            raise _HungUpError
        self._stage = f"before “{line.text}” was answered"
        position = len(self._call.timeline.events)
        await self._call.speak(line.audio, line.text)
        if line.barge_in_after_ms is not None and self._call.is_up:
            await self._check_stop(position, line)
        if not await self._turn(position, self.outcome.waits_ms):
            self._problem(f"no answer to “{line.text}” within {ANSWER_S:g} s")

    async def _press(self) -> None:
        self._stage = f"before the keys {self._digits} were pressed"
        await self._quiet(0)
        if not self._call.is_up:
            raise _HungUpError
        self._stage = f"before the keys {self._digits} were answered"
        position = len(self._call.timeline.events)
        await self._call.dtmf(self._digits)
        if not await self._turn(position, self.outcome.key_waits_ms):
            self._problem(f"no answer to the keys {self._digits} within {ANSWER_S:g} s")

    async def _turn(self, position: int, waits_ms: list[float]) -> bool:
        """The answer to what the caller did from ``position`` on; its wait is added to ``waits_ms``."""
        begun = await self._answered(position, ANSWER_S)
        if begun is None:
            return False
        self.outcome.turns += 1
        waits_ms += [wait for wait in (begun.after_caller_ms, begun.after_key_ms) if wait is not None]
        return True

    async def _check_stop(self, position: int, line: Line) -> None:
        """The agent must have fallen silent for an interruption, within :data:`STOP_MS` of its first sound."""
        timeline = self._call.timeline
        began_ms = next((event.at_ms for event in timeline.events[position:] if isinstance(event, CallerStarted)), None)
        if began_ms is None:
            self._problem(f"“{line.text}” was to interrupt, but there is nothing to hear in it")
            return
        left_s = max(0.0, began_ms + STOP_MS - timeline.now_ms()) / 1000
        with contextlib.suppress(TimeoutError):
            await self._call.wait_for(Cleared, after=position, timeout_s=left_s)
            return
        first = next((e for e in timeline.events[position:] if isinstance(e, AgentStarted | AgentStopped)), None)
        # An agent that begins had been silent: what it says is the answer to the interruption.
        until_ms = 0.0 if isinstance(first, AgentStarted) else first.at_ms if first else self._call.agent_heard_ms
        if until_ms + FRAME_MS > began_ms + STOP_MS:
            self._problem(f"the agent did not stop for “{line.text}”")
        else:
            wait = f"{line.barge_in_after_ms} ms"
            self._problem(f"“{line.text}” was to interrupt after {wait}, but the answer was already over: wait less")

    async def _answered(self, position: int, within_s: float) -> AgentStarted | None:
        """How the agent began to answer what the caller did from ``position`` on; None if it did not in time.

        An agent that began before the caller was done, and still speaks, answers too. Raises :class:`_HungUpError`.
        """
        events = self._call.timeline.events
        done = [at for at in range(position, len(events)) if isinstance(events[at], CallerStopped | DtmfSent)]
        turns = [event for event in events[position:] if isinstance(event, AgentStarted | AgentStopped)]
        if turns and isinstance(turns[-1], AgentStarted):
            return turns[-1]
        try:
            event = await self._call.wait_for(
                TimelineEvent,
                lambda e: isinstance(e, AgentStarted | HungUp),
                after=done[-1] if done else position,
                timeout_s=within_s,
            )
        except TimeoutError:
            return None
        if isinstance(event, AgentStarted):
            return event
        raise _HungUpError

    async def _quiet(self, patience_ms: int) -> None:
        """Until the agent has been silent for that long on top of what shows that it has stopped."""
        try:
            async with asyncio.timeout(SPEECH_S):
                while True:
                    await self._call.wait_for_quiet(SPEECH_S)
                    await asyncio.sleep(patience_ms / 1000)
                    if not self._call.agent_speaks:
                        return
        except TimeoutError:
            self._problem(f"the agent spoke for more than {SPEECH_S:g} s without a pause")

    # What must be true of it -----------------------------------------------------------------------------------------

    def _check(self) -> None:
        outcome, timeline = self.outcome, self._call.timeline
        lost = lost_stream(timeline)
        if lost is not None and not any(lost in problem for problem in outcome.problems):
            self._problem(lost)
        outcome.problems += protocol_problems(timeline)
        # What was not reached cannot be missed.
        if self._knows_words and self._stage == _DONE:
            self._check_functions()
            self._check_words()
            self._check_understood()

    def _check_understood(self) -> None:
        """Every thing that was said must have reached the server's model: a prompt is no answer."""
        said, understood = len(self._call.timeline.all(CallerStarted)), len(self.outcome.understood)
        if self._source.knows_understood and understood < said:
            self._problem(f"the server understood only {understood} of the {said} things that the caller said")

    def _check_functions(self) -> None:
        outcome = self.outcome
        outcome.problems += [
            f"the function {name} was not called"
            for name in self._script.functions
            if outcome.understood and not any(called.startswith(name) for called in outcome.functions)
        ]

    def _check_words(self) -> None:
        outcome = self.outcome
        said = " ".join(outcome.agent).lower()
        outcome.problems += [
            f"the agent never said “{line.expects}”"
            for line in self._script.lines
            if line.expects and outcome.agent and line.expects.lower() not in said
        ]
        spoken = plain(" ".join(line.text for line in self._script.lines))
        heard = plain(" ".join(outcome.understood))
        alike = SequenceMatcher(None, spoken, heard, autojunk=False).ratio()
        if self._script.functions and heard and alike < _ALIKE:
            self._problem(f"only {alike:.0%} of the caller's words were recognised")


def plain(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())
