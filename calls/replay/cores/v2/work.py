"""The workbench of one step: the state so far, the commands so far, the time. Lives for one call of ``step``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from calls.replay.cores.v2.commands import CancelTimer, Command, SetTimer, StaleDropped
from calls.replay.cores.v2.state import Reply, State, Timer

if TYPE_CHECKING:
    from calls.replay.cores.v2.events import Event
    from calls.replay.cores.v2.policy import AgentProfile, TurnPolicy


class Work:
    """Handlers change the state through this, so that what they emit and what they change stay together."""

    __slots__ = ("now", "out", "state")

    def __init__(self, state: State, now: int) -> None:
        self.state = state
        self.now = now
        self.out: list[Command] = []

    @property
    def agent(self) -> AgentProfile:
        """The agent of a call that has started."""
        agent = self.state.agent
        assert agent is not None  # noqa: S101 - the table admits nothing but CallStarted before
        return agent

    @property
    def policy(self) -> TurnPolicy:
        """The agent's turn-taking policy."""
        return self.agent.policy

    @property
    def reply(self) -> Reply:
        """The reply in the works, where the caller of this knows that there is one."""
        reply = self.state.reply
        assert reply is not None  # noqa: S101 - guaranteed by the handlers' guards
        return reply

    def emit(self, *commands: Command) -> None:
        """Ask for these, in order."""
        self.out.extend(commands)

    def set(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **changes)

    def set_reply(self, **changes: Any) -> None:
        """Change fields of the reply in the works."""
        self.set(reply=replace(self.reply, **changes))

    def set_caller(self, **changes: Any) -> None:
        """Change what is known of the caller."""
        self.set(caller=replace(self.state.caller, **changes))

    def stale(self, event: Event) -> None:
        """Count an event that is no longer current."""
        self.emit(StaleDropped(type(event).__name__))

    def due_ms(self, name: str) -> int:
        """When this timer is due, ``-1`` where it is not armed."""
        return next((timer.due_ms for timer in self.state.timers if timer.name == name), -1)

    def arm(self, name: str, due_ms: int) -> None:
        """Arm a timer, in place of an earlier one of this name that is due at another time."""
        if self.due_ms(name) == due_ms:
            return
        key = self.state.timer_key + 1
        others = tuple(timer for timer in self.state.timers if timer.name != name)
        self.set(timers=(*others, Timer(name, key, due_ms)), timer_key=key)
        self.emit(SetTimer(name, key, due_ms))

    def arm_earlier(self, name: str, due_ms: int) -> None:
        """Bring this timer forward, where it is armed for later."""
        if self.due_ms(name) > due_ms:
            self.arm(name, due_ms)

    def disarm(self, *names: str) -> None:
        """Forget these timers where they are armed."""
        for name in names:
            if self.due_ms(name) >= 0:
                self.set(timers=tuple(timer for timer in self.state.timers if timer.name != name))
                self.emit(CancelTimer(name))
