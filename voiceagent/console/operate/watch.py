"""What operators do to one call, live: who has it, who listens, what waits, and what became of each request.

A page from which somebody took over says that they are still there: ``{"type": "present"}``, more often than
``calls.media.operator.LEASE_MS``. When its socket closes, the call is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from calls import control
from calls.models import Call
from voiceagent.console import threads
from voiceagent.console.live import LiveConsumer

if TYPE_CHECKING:
    from collections.abc import Mapping


class OperateWatch(LiveConsumer):
    """Snapshot and changes: a ``status`` as in ``calls.desk.Desk.status``, or ``why`` there is none."""

    messages: ClassVar[Mapping[str, str]] = {"present": "console.take_over"}

    def __init__(self) -> None:
        super().__init__()
        self._present = False

    @property
    def call_sid(self) -> str:
        """The call that is watched."""
        sid: str = self.scope["url_route"]["kwargs"]["call_sid"]
        return sid

    async def joined(self) -> list[str]:
        """The call's own group."""
        return [control.group_of(self.call_sid)]

    async def snapshot(self) -> dict[str, Any]:
        """As the call's process tells it now; nobody has to be asked for a call that is over."""
        if await threads.run(self._is_over):
            return {"status": {"phase": "ended"}, "why": ""}
        outcome = await control.ask(self.call_sid, "status", self.user.get_username())
        return {"status": dict(outcome.data) if outcome.accepted else None, "why": outcome.why}

    def _is_over(self) -> bool:
        return Call.objects.filter(call_sid=self.call_sid, status=Call.Status.ENDED).exists()

    async def operate_changed(self, message: Mapping[str, Any]) -> None:
        """News of the call's process."""
        await self.change({"status": message["status"], "why": ""})

    async def on_present(self, _content: Mapping[str, Any]) -> None:
        """Who took over is there."""
        outcome = await control.ask(self.call_sid, "present", self.user.get_username())
        self._present = outcome.accepted

    async def left(self) -> None:
        """The page is closed: if it was an operator's who has the call, the call must know."""
        if self._present:
            self._present = False
            await control.ask(self.call_sid, "gone", self.user.get_username())
