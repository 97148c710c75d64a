"""Many calls on the board at once: rows of a real feed, whose steps are those of a conversation that the core has had.

They reach the page as real calls do: reducer, batches in Redis, channel layer, consumer. Only the calls are not there.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer

from calls.bus import Bus
from calls.core import events as e
from calls.core.state import Caller, Phase, State
from calls.livefeed import FeedConf, LiveFeed, rows_key
from calls.liverow import Identity
from tests.app.records.conversation import booked_table
from voiceagent.console.logtail import client

if TYPE_CHECKING:
    from calls.bus import StepTaken

SIDS = "CA{:032x}"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Crowd:
    """``count`` calls of one process. ``play`` takes them through the conversation, everyone at another place of it."""

    def __init__(self, count: int, process: str = "crowd:1", **conf: int) -> None:
        self.redis = client()
        self.process = process
        self.about: dict[str, Any] = {"capacity": 250, "breakers": {"openai.reply": "closed", "cartesia.tts": "closed"}}
        self.batches = 0
        self.dropped = 0
        # Nobody tells of these calls while a slow browser opens its page: the rows must not expire meanwhile.
        self.feed = LiveFeed(
            self.redis, self._send, process, lambda: self.about, FeedConf(**{"expire_ms": 120_000, **conf})
        )
        self.buses: list[Bus] = []
        self.steps = booked_table().steps
        self.now_ms = _wall_ms()
        for number in range(count):
            self.add(number)

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        self.batches += 1
        if self.dropped:
            self.dropped -= 1
            return
        await get_channel_layer().group_send(group, message)

    def add(self, number: int, name: str = "", began_ms_ago: int = 0, **identity: Any) -> Bus:
        """One more call."""
        bus = Bus(_raise)
        fields: dict[str, Any] = {
            "call_sid": SIDS.format(number),
            "from_number": f"+4420794{number:05d}",
            "to_number": "+15005550006",
            "agent": "Bella Vista",
            "model": "",
            "started_at": self.now_ms - began_ms_ago,
        }
        self.feed.open(Identity(**{**fields, **identity}), bus)
        self.buses.append(bus)
        return bus

    def publish(self, bus: Bus, steps: list[StepTaken], began_ms: int) -> None:
        """These steps, as if the call had begun at ``began_ms``."""
        for step in steps:
            bus.publish(replace(step, wall_ms=began_ms + step.event.at_ms))

    def say(self, number: int, text: str) -> None:
        """The caller of this call is saying this."""
        at_ms = _wall_ms() - self.now_ms
        state = replace(self._quiet(), caller=Caller(speaking=True, text=text))
        step = replace(self.steps[0], event=e.WordsHeard(at_ms=at_ms, text=text), commands=(), state=state)
        self.publish(self.buses[number], [step], self.now_ms)

    def fail(self, number: int) -> None:
        """Our own code fails in this call."""
        event = e.ErrorRaised(at_ms=_wall_ms() - self.now_ms, where="test", error="KeyError")
        step = replace(self.steps[0], event=event, commands=(), state=self._quiet())
        self.publish(self.buses[number], [step], self.now_ms)

    @staticmethod
    def _quiet() -> State:
        return State(phase=Phase.ACTIVE)

    async def die(self) -> None:
        """The process is killed: nothing more is told, and its rows expire."""
        await self.redis.delete(rows_key(self.process))

    async def play(self, rounds: int, every_s: float = 0.25, steps: int = 6) -> None:
        """So many rounds, each with some steps of every call and a batch that tells of it."""
        places = [(7 * number) % (len(self.steps) // 2) for number in range(len(self.buses))]
        for number, bus in enumerate(self.buses):
            self.publish(bus, self.steps[: places[number]], _wall_ms() - self.steps[places[number]].event.at_ms)
        begun = time.monotonic()
        for played in range(rounds):
            for number, bus in enumerate(self.buses):
                at = places[number]
                if at + steps < len(self.steps) - 2:  # the last ones end the call
                    for step in self.steps[at : at + steps]:
                        bus.publish(replace(step, wall_ms=_wall_ms()))
                    places[number] = at + steps
                else:
                    places[number] = 40
            await self.feed.round()
            await asyncio.sleep(max(0.0, begun + (played + 1) * every_s - time.monotonic()))

    async def close(self) -> None:
        """The process stops."""
        await self.feed.aclose()
        await self.redis.aclose()


def _raise(error: BaseException) -> None:
    raise error
