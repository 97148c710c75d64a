"""How an operator's request reaches a call, whichever process has it: over the channel layer, with an answer.

Every process that carries calls is in one group. A request names its call, its action and where the answer goes; the process that
has the call acts and answers, the others are silent. Nothing of a call waits for this: a layer that is away keeps operators from
calls of other processes, and costs the calls nothing; when it is back the process joins again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog
from channels.layers import get_channel_layer

from calls.desk import Outcome

if TYPE_CHECKING:
    from calls.registry import Registry
    from calls.session import Session

_log = structlog.get_logger(__name__)

#: Every process that carries calls.
GROUP: Final = "calls.control"
#: How long an answer is waited for. Who has the call answers in a step of it.
ANSWER_S: Final = 1.0
#: A membership is renewed this often, since a store that was emptied tells nobody.
JOIN_EVERY_S: Final = 20.0
#: How long after a failure the layer is tried again.
AGAIN_S: Final = 1.0
#: When an operator drains a process: how long callers whose webhook was answered may still bring their stream.
DRAIN_PROMISED_S: Final = 5.0
#: Least time between two messages to the pages that show a call's interventions.
TELL_EVERY_S: Final = 0.1

NOBODY = "No process has this call: it is over, or its process is not reachable."
AWAY = "The message could not be sent: Redis is away."


def group_of(call_sid: str) -> str:
    """The group of the pages that show what operators do to this call. They get ``operate.changed`` with its status."""
    return f"calls.operate.{call_sid}"


Action = Callable[["Session", str, str, Mapping[str, Any]], Awaitable[Outcome]]


def _asked(action: str) -> Action:
    return lambda session, by, key, args: session.desk.ask(action, by, key, args)


async def _status(session: Session, _by: str, _key: str, _args: Mapping[str, Any]) -> Outcome:
    return Outcome(accepted=True, data=session.desk.status())


async def _present(session: Session, by: str, _key: str, _args: Mapping[str, Any]) -> Outcome:
    there = session.operator.present(by)
    return Outcome(accepted=there, why="" if there else "You do not have this call.")


async def _gone(session: Session, by: str, _key: str, _args: Mapping[str, Any]) -> Outcome:
    session.operator.gone(by)
    return Outcome(accepted=True)


async def _listen(session: Session, by: str, key: str, _args: Mapping[str, Any]) -> Outcome:
    """``key`` is the page's: it asks again before ``calls.listening.LEASE_S`` are over."""
    if not by or not key:
        return Outcome(accepted=False, why="This request is not understood.")
    session.listening.listen(key, by)
    return Outcome(accepted=True)


async def _unlisten(session: Session, _by: str, key: str, _args: Mapping[str, Any]) -> Outcome:
    session.listening.unlisten(key)
    return Outcome(accepted=True)


#: What can be asked of a call: of its session, by whom, under which key, with what. Runs on the call's loop, and never waits for long.
ACTIONS: dict[str, Action] = {
    **{action: _asked(action) for action in ("whisper", "say", "take_over", "hand_back", "end")},
    "status": _status,
    "present": _present,
    "gone": _gone,
    "listen": _listen,
    "unlisten": _unlisten,
}


class Control:
    """This process's end. ``run`` serves requests for the calls of ``registry``."""

    def __init__(self, registry: Registry, process: str = "") -> None:
        self._registry = registry
        self._process = process
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: dict[str, asyncio.TimerHandle] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Serve, for ever."""
        self.loop = asyncio.get_running_loop()
        _here.append(self)
        layer, channel = get_channel_layer(), f"control.{uuid.uuid4().hex}"
        renewing: asyncio.Task[None] | None = None
        try:
            while True:
                try:
                    await layer.group_add(GROUP, channel)
                    if renewing is None or renewing.done():
                        renewing = asyncio.create_task(self._renew(layer, channel))
                    while True:
                        self._spawn(self._serve(layer, await layer.receive(channel)))
                except Exception as error:  # noqa: BLE001 - whatever is wrong with the layer, the calls go on
                    _log.warning("control.away", error=type(error).__name__)
                    await asyncio.sleep(AGAIN_S)
        finally:
            _here.remove(self)
            if renewing is not None:
                renewing.cancel()
            for task in self._tasks:
                task.cancel()

    async def _renew(self, layer: Any, channel: str) -> None:
        while True:
            await asyncio.sleep(JOIN_EVERY_S)
            try:
                await layer.group_add(GROUP, channel)
            except Exception as error:  # noqa: BLE001 - the serving loop finds out as well, and joins again
                _log.info("control.not_renewed", error=type(error).__name__)

    async def _serve(self, layer: Any, message: Mapping[str, Any]) -> None:
        outcome = await self.act(
            message.get("call_sid", ""), message.get("action", ""), message.get("by", ""), message.get("key", ""), message.get("args", {})
        )  # fmt: skip
        if outcome is not None:
            answer = {
                "type": "control.answer",
                "accepted": outcome.accepted,
                "why": outcome.why,
                "data": dict(outcome.data),
            }
            await layer.send(message["reply"], answer)

    async def act(self, call_sid: str, action: str, by: str, key: str, args: Mapping[str, Any]) -> Outcome | None:
        """Do it, if this process has the call; ``None`` if it does not. In place of a call's id may stand that of a process."""
        if self._process and call_sid == self._process:
            return self._of_process(action)
        session = self._registry.live.get(call_sid)
        if session is None:
            return None
        handler = ACTIONS.get(action)
        if handler is None:
            return Outcome(accepted=False, why=f"There is no action {action!r}.")
        return await handler(session, by, key, args)

    def _of_process(self, action: str) -> Outcome:
        if action != "drain":
            return Outcome(accepted=False, why=f"There is no action {action!r} of a process.")
        _log.warning("drain.asked", calls=self._registry.expected)
        self._registry.drain(DRAIN_PROMISED_S)
        return Outcome(accepted=True)

    def has(self, call_sid: str) -> bool:
        """Whether this process has the call."""
        return call_sid in self._registry.live

    def changed(self, call_sid: str) -> None:
        """Tell the pages that show this call's interventions, soon."""
        if call_sid not in self._telling and self.loop is not None:
            self._telling[call_sid] = self.loop.call_later(TELL_EVERY_S, self._tell, call_sid)

    def _tell(self, call_sid: str) -> None:
        del self._telling[call_sid]
        session = self._registry.live.get(call_sid)
        status = session.desk.status() if session is not None else {"phase": "ended"}
        message = {"type": "operate.changed", "status": status}
        self._spawn(get_channel_layer().group_send(group_of(call_sid), message))

    def _spawn(self, work: Any) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - who asked is not answered, and says so
                _log.warning("control.not_answered", error=type(error).__name__)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


#: What serves in this process; a call of its own is reached without the layer.
_here: list[Control] = []


async def ask(call_sid: str, action: str, by: str, key: str = "", **args: Any) -> Outcome:
    """Ask something of a call, in whichever process it is. ``by``: the operator's name; ``key``: the request's own, for it to have
    one effect however often it is made. Never raises; one that nobody answers within a second says so."""
    key = key or uuid.uuid4().hex
    for control in _here:
        if control.loop is asyncio.get_running_loop() and control.has(call_sid):
            return await control.act(call_sid, action, by, key, args) or Outcome(accepted=False, why=NOBODY)
    layer, reply = get_channel_layer(), f"control.reply.{uuid.uuid4().hex}"
    message = {"type": "control.request", "call_sid": call_sid, "action": action, "by": by, "key": key, "args": args}
    try:
        async with asyncio.timeout(ANSWER_S):
            await layer.group_send(GROUP, {**message, "reply": reply})
            answer = await layer.receive(reply)
    except TimeoutError:
        return Outcome(accepted=False, why=NOBODY)
    except Exception as error:  # noqa: BLE001 - the client's errors are many; the operator is told one thing
        _log.warning("control.not_sent", error=type(error).__name__)
        return Outcome(accepted=False, why=AWAY)
    return Outcome(bool(answer["accepted"]), str(answer["why"]), answer["data"])
