"""``SessionActor``: one coroutine for each call, around the pure core.

It takes an event from the mailbox, calls ``step``, carries out the commands in order and publishes what happened. It
decides nothing. Model request and tools run as children of one task group, each bounded; whatever they meet comes back
as an event, so that the failure of one turn never touches another.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from calls.bus import Bus, StepTaken
from calls.codecs import mulaw
from calls.core import commands as c
from calls.core.events import (
    CallStarted,
    CardLoaded,
    CarrierGone,
    ErrorRaised,
    Event,
    HangUpAsked,
    MemoryRecalled,
    ModelFailed,
    TimerFired,
    ToolSettled,
)
from calls.core.machine import IllegalEvent, step
from calls.core.policy import POLICY_VERSION
from calls.core.state import Phase, State
from calls.media.gate import Gate
from calls.phrasebook import phrase_audio
from calls.ports import CallControl, CallMemory, CarrierOut, Ear, Model, RecallResult, Voice
from calls.providers.twilio.twiml import dial
from calls.tools import ToolContext

if TYPE_CHECKING:
    from calls.core.commands import Command
    from calls.core.policy import AgentProfile
    from calls.mailbox import Clock, Letter, Mailbox

_log = structlog.get_logger(__name__)

#: How long a request to the carrier may outlive its call.
LAST_REQUEST_S = 1.0
#: Own failures of the core after which a call is given up.
MOST_BROKEN_STEPS = 3
#: How long after its deadline a recall is still let run, to be on record as late.
LATE_RECALL_S = 1.0
#: Entries of one recall that go on record.
MOST_RECALLED = 20

ToolRunner = Callable[[str, str, ToolContext], Awaitable[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What an actor works with, all of one call but ``model`` and ``control``. ``memory`` is there where calls recall."""

    ear: Ear
    voice: Voice
    model: Model
    control: CallControl
    carrier: CarrierOut
    gate: Gate
    run_tool: ToolRunner
    memory: CallMemory | None = None


class SessionActor:
    """Owns one call. ``mailbox.post`` is the only way in, the bus the only way out."""

    def __init__(
        self,
        call_sid: str,
        agent: AgentProfile,
        parts: Parts,
        mailbox: Mailbox,
        clock: Clock,
        bus: Bus,
        today: str = "",
        recall_ms: int = 0,
    ) -> None:
        self.call_sid = call_sid
        # The record names the rules that it was made by, whatever they were when the agent was saved.
        self.agent = replace(agent, policy=replace(agent.policy, version=POLICY_VERSION))
        self.state = State()
        self.mailbox = mailbox
        self._parts = parts
        self._clock = clock
        self._bus = bus
        self._today = today
        self._recall_ms = recall_ms if parts.memory is not None else 0
        self._seq = 0
        self._broken = 0
        self._group: asyncio.TaskGroup | None = None
        self._model: asyncio.Task[None] | None = None
        self._recalling: asyncio.Task[None] | None = None
        self._tools: dict[str, asyncio.Task[None]] = {}
        self._requests: list[asyncio.Task[None]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._obey: Mapping[type[Command], Callable[[Any], None]] = {
            c.Recall: self._recall,
            c.AskModel: self._ask_model,
            c.CancelModel: self._cancel_model,
            c.Say: lambda x: parts.voice.say(x.turn, x.epoch, x.text),
            c.EndSay: lambda x: parts.voice.end(x.turn, x.epoch),
            c.CancelVoice: self._cancel_voice,
            c.PlayPhrase: lambda x: self._play(x, phrase_audio(agent, x.phrase)),
            c.PlayTones: lambda x: self._play(x, mulaw.dtmf(x.digits)),
            c.OpenGate: lambda x: parts.gate.open(x.turn, x.epoch),
            c.CloseGate: lambda _: parts.gate.close(),
            c.Clear: lambda x: parts.gate.clear(x.epoch),
            c.LendGate: lambda x: parts.gate.lend(x.epoch),
            c.TakeGateBack: lambda _: parts.gate.take_back(),
            c.RunTool: self._run_tool,
            c.CancelTool: self._cancel_tool,
            c.SetTimer: self._set_timer,
            c.CancelTimer: self._cancel_timer,
            c.FinalizeEar: lambda _: parts.ear.finalize(),
            c.HangUp: self._hang_up,
            c.Transfer: self._transfer,
        }

    async def run(self) -> str:
        """Run the call to its end. Returns the end reason, one of ``calls.core.state.END_REASONS``."""
        started = CallStarted(call_sid=self.call_sid, agent=self.agent, today=self._today, recall_ms=self._recall_ms)
        self.mailbox.begin(started, behind=CardLoaded)
        async with asyncio.TaskGroup() as group:
            self._group = group
            children = [self._child("ear", self._parts.ear.run()), self._child("voice", self._parts.voice.run())]
            while self.state.phase is not Phase.ENDED:
                self._take(await self.mailbox.get())
            # Nothing follows ``<Connect>``: a carrier that did not carry out our request ends the call at this.
            self._parts.carrier.close()
            for task in (*children, *self._tools.values(), self._model, self._recalling):
                if task is not None:
                    task.cancel()
            await self._drop_requests()
        for timer in self._timers.values():
            timer.cancel()
        return self.state.ending

    # --- one event

    def _take(self, letter: Letter) -> None:
        event = letter.event
        waited_us = self._clock.now_us() - letter.posted_us
        try:
            state, commands = step(self.state, event)
        except IllegalEvent as error:
            _log.warning("event.illegal", call_sid=self.call_sid, reason=str(error))
            return
        except Exception:  # noqa: BLE001 - our own bug: logged there, and the call goes on
            self._step_broke(event)
            return
        self.state = state
        for command in commands:
            self._carry_out(command)
        self._seq += 1
        self._bus.publish(StepTaken(self._seq, time.time_ns() // 1_000_000, event, commands, state, waited_us))

    def _step_broke(self, event: Event) -> None:
        """Our own bug: the event changes nothing, and the call goes on, unless it happens again and again."""
        _log.exception("core.broken", call_sid=self.call_sid, event_type=type(event).__name__)
        self._broken += 1
        if self._broken < MOST_BROKEN_STEPS:
            self.mailbox.post(ErrorRaised(where=f"step:{type(event).__name__}", error="broken"))
        elif self._broken == MOST_BROKEN_STEPS:
            self.mailbox.post(HangUpAsked(by="internal_error"))
        elif isinstance(event, HangUpAsked | CarrierGone | TimerFired):
            # Not even the end works. What else still breaks on the way there was in the mailbox before it.
            raise RuntimeError(f"the core broke {self._broken} times in call {self.call_sid}")

    def _carry_out(self, command: Command) -> None:
        act = self._obey.get(type(command))
        if act is None:
            return
        try:
            act(command)
        except Exception as error:  # noqa: BLE001 - one command's failure must not stop the others
            self._failed(type(command).__name__, error)

    def _failed(self, where: str, error: BaseException) -> None:
        _log.error("call.error", call_sid=self.call_sid, where=where, exc_info=error)
        self.mailbox.post(ErrorRaised(where=where, error=type(error).__name__))

    def _child(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        assert self._group is not None  # noqa: S101 - set before any child is made

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - a child's failure is an event, not the end of the call
                self._failed(name, error)

        task = self._group.create_task(guarded(), name=f"{self.call_sid}:{name}")
        # A task that is cancelled before its first step never gets to its work: it is let go of here.
        task.add_done_callback(lambda _: work.close())
        return task

    # --- memory, model and voice

    def _recall(self, recall: c.Recall) -> None:
        self._drop_recall()
        self._recalling = self._child("recall", self._recalled(recall))

    async def _recalled(self, recall: c.Recall) -> None:
        """Always answers unless it is cancelled; what a slow memory found stands in the record, as late."""
        memory, began_ms = self._parts.memory, self._clock.now_ms()
        assert memory is not None  # noqa: S101 - the core recalls only in a call that has one

        def answer(found: RecallResult) -> None:
            self.mailbox.post(
                MemoryRecalled(
                    turn=recall.turn,
                    epoch=recall.epoch,
                    outcome=found.outcome,
                    took_ms=found.took_ms,
                    items=found.items[:MOST_RECALLED],
                )
            )

        try:
            async with asyncio.timeout(recall.deadline_ms / 1000 + LATE_RECALL_S):
                found = await memory.recall(recall.text, recall.deadline_ms)
        except TimeoutError:
            answer(RecallResult(outcome="late", took_ms=self._clock.now_ms() - began_ms))
        except Exception:
            answer(RecallResult(outcome="failed", took_ms=self._clock.now_ms() - began_ms))
            raise
        else:
            answer(found)

    def _drop_recall(self) -> None:
        if self._recalling is not None:
            self._recalling.cancel()
            self._recalling = None

    def _ask_model(self, ask: c.AskModel) -> None:
        if self._model is not None:
            self._model.cancel()
        self._model = self._child("model", self._reply(ask))

    async def _reply(self, ask: c.AskModel) -> None:
        try:
            await self._parts.model.reply(self.agent, ask, self.mailbox.post)
        except Exception:
            self.mailbox.post(ModelFailed(turn=ask.turn, epoch=ask.epoch, kind="internal"))
            raise

    def _cancel_model(self, _command: c.CancelModel) -> None:
        self._drop_recall()
        if self._model is not None:
            self._model.cancel()
            self._model = None

    def _cancel_voice(self, command: c.CancelVoice) -> None:
        self._parts.gate.drop(command.epoch)
        self._parts.voice.cancel(command.turn, command.epoch)

    def _play(self, command: c.PlayPhrase | c.PlayTones, audio: bytes) -> None:
        self._parts.gate.audio(command.turn, command.epoch, audio)
        self._parts.gate.finished(command.turn, command.epoch)

    # --- tools

    def _run_tool(self, command: c.RunTool) -> None:
        result = ["cancelled", json.dumps({"error": "cancelled"})]

        def settle(_: object) -> None:
            """Exactly once, also for a tool that was cancelled before its first step."""
            self._tools.pop(command.call_id, None)
            self.mailbox.post(ToolSettled(call_id=command.call_id, outcome=result[0], output=result[1]))

        reply = self.state.reply
        said = reply.user_text if reply is not None else ""
        context = ToolContext(self.call_sid, command.turn, command.key, said, self._parts.memory)
        task = self._child(f"tool:{command.name}", self._tool(command, context, result))
        self._tools[command.call_id] = task
        task.add_done_callback(settle)

    async def _tool(self, command: c.RunTool, context: ToolContext, result: list[str]) -> None:
        try:
            async with asyncio.timeout(command.timeout_ms / 1000):
                result[:] = await self._parts.run_tool(command.name, command.arguments, context)
        except TimeoutError:
            result[:] = "timeout", json.dumps({"error": "this took too long"})
        except Exception:
            result[:] = "error", json.dumps({"error": "this failed"})
            raise

    def _cancel_tool(self, command: c.CancelTool) -> None:
        task = self._tools.get(command.call_id)
        if task is not None:
            task.cancel()

    # --- timers

    def _set_timer(self, command: c.SetTimer) -> None:
        self._cancel_timer(c.CancelTimer(command.timer))
        delay_s = max(0, command.due_ms * 1000 - self._clock.now_us()) / 1_000_000
        self._timers[command.timer] = asyncio.get_running_loop().call_later(
            delay_s, self.mailbox.post, TimerFired(timer=command.timer, key=command.key)
        )

    def _cancel_timer(self, command: c.CancelTimer) -> None:
        timer = self._timers.pop(command.timer, None)
        if timer is not None:
            timer.cancel()

    # --- the carrier

    def _hang_up(self, _command: c.HangUp) -> None:
        self._ask_carrier("hang_up", self._parts.control.hang_up(self.call_sid))

    def _transfer(self, command: c.Transfer) -> None:
        self._ask_carrier("transfer", self._parts.control.redirect(self.call_sid, dial(command.to)))

    def _ask_carrier(self, name: str, request: Coroutine[Any, Any, None]) -> None:
        self._requests.append(self._child(name, self._at_carrier(request)))

    async def _drop_requests(self) -> None:
        """The call is over: a request that is nearly through may finish, one that hangs holds no slot."""
        if self._requests:
            await asyncio.wait(self._requests, timeout=LAST_REQUEST_S)
        for request in self._requests:
            request.cancel()

    async def _at_carrier(self, request: Awaitable[None]) -> None:
        """Ask by REST; where that fails, closing the stream ends the call too, since nothing follows ``<Connect>``."""
        try:
            await request
        except Exception:
            with suppress(Exception):
                self._parts.carrier.close()
            raise
