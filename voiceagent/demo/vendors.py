"""The vendors of a call on virtual time: an ear that is told what it hears, a voice, and the sandbox's persona as the model.

What is to go wrong next is said by the caller's script (``Vendors.next``); everything else takes the time it usually takes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calls.core import events as e
from calls.core.speech import BYTES_PER_MS
from calls.ports import Forgotten, RecallResult, Remembered
from calls.providers.openai.chat import message
from voiceagent.sandbox.openai.chat import read_messages
from voiceagent.sandbox.openai.conversation import Answer, Conversation, Tool, choose, count_tokens, tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile
    from calls.core.state import Card
    from calls.media.gate import Gate
    from calls.ports import CallMemory, Post
    from voiceagent.demo.speech import Speak
    from voiceagent.sandbox.script import LlmSettings

MODEL = "gpt-5.1-mini"
#: Audio of the voice comes in pieces of this length, so many times faster than it is heard.
_PIECE_MS, _FASTER = 480, 8
_MS_PER_TOKEN = 14


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong with the next ``times`` requests of a vendor.

    ``what``: ``model_slow`` (its first word takes ``ms``), ``model_refuses``, ``model_cut`` (after some words),
    ``voice_slow``, ``voice_fails``, ``recall_slow``, ``recall_fails``, ``tool_slow``, ``tool_fails``.
    """

    what: str
    ms: int = 0
    times: int = 1


@dataclass(slots=True)
class Troubles:
    """What is to go wrong, in order; each of it once."""

    waiting: list[Trouble] = field(default_factory=list)

    def take(self, *whats: str) -> Trouble | None:
        """The first of these that is due, which it no longer is then."""
        for place, trouble in enumerate(self.waiting):
            if trouble.what in whats:
                if trouble.times > 1:
                    self.waiting[place] = Trouble(trouble.what, trouble.ms, trouble.times - 1)
                else:
                    del self.waiting[place]
                return trouble
        return None


class ToldEar:
    """Hears what the caller's script posts; connects like a real one."""

    dropped_frames = 0

    def __init__(self, post: Post) -> None:
        self._post = post

    async def run(self) -> None:
        """See ``calls.ports.Ear``, as all below."""
        await asyncio.sleep(0.09)
        self._post(e.EarReady())
        await asyncio.Event().wait()

    def feed(self, audio: bytes) -> None:
        """The script has the words."""

    def voice_began(self, ago_ms: int) -> None:
        """As for ``feed``."""

    def voice_ended(self, ago_ms: int) -> None:
        """As for ``feed``."""

    def finalize(self) -> None:
        """As for ``feed``."""

    async def aclose(self) -> None:
        """Nothing is open."""


class SpokenVoice:
    """Speaks by ``speak``, some 100 ms after the text came and faster than it is heard."""

    def __init__(self, gate: Gate, post: Post, speak: Speak, rng: Random, troubles: Troubles) -> None:
        self._gate, self._post, self._speak, self._rng, self._troubles = gate, post, speak, rng, troubles
        self._queue: asyncio.Queue[tuple[int, int, str | None]] = asyncio.Queue()
        self._spoken_ms: dict[int, int] = {}
        self._gone: set[int] = set()

    async def run(self) -> None:
        """See ``calls.ports.Voice``, as all below."""
        while True:
            turn, epoch, text = await self._queue.get()
            if epoch in self._gone:
                continue
            if text is None:
                self._gate.finished(turn, epoch)
                continue
            await self._say(turn, epoch, text)

    async def _say(self, turn: int, epoch: int, text: str) -> None:
        if epoch not in self._spoken_ms:
            trouble = self._troubles.take("voice_slow", "voice_fails")
            await asyncio.sleep((self._rng.gauss(125, 25) if trouble is None else trouble.ms) / 1000)
            if trouble is not None and trouble.what == "voice_fails":
                self._gone.add(epoch)
                self._post(e.VoiceFailed(turn=turn, epoch=epoch, kind="server", retryable=True))
                return
        spoken = self._speak(text, 1.0)
        start_ms = self._spoken_ms.get(epoch, 0)
        words = tuple(e.TimedWord(w.text, start_ms + w.start_ms, start_ms + w.end_ms) for w in spoken.words)
        self._spoken_ms[epoch] = start_ms + spoken.ms
        if words:
            self._post(e.WordsTimed(turn=turn, epoch=epoch, words=words))
        for at in range(0, len(spoken.audio), _PIECE_MS * BYTES_PER_MS):
            if epoch in self._gone:
                return
            self._gate.audio(turn, epoch, spoken.audio[at : at + _PIECE_MS * BYTES_PER_MS])
            await asyncio.sleep(_PIECE_MS / _FASTER / 1000)

    def say(self, turn: int, epoch: int, text: str) -> None:
        """More text of this epoch."""
        self._queue.put_nowait((turn, epoch, text))

    def end(self, turn: int, epoch: int) -> None:
        """No more of it."""
        self._queue.put_nowait((turn, epoch, None))

    def cancel(self, turn: int, epoch: int) -> None:
        """Stop it."""
        self._gone.add(epoch)

    async def aclose(self) -> None:
        """Nothing is open."""


class PersonaModel:
    """The sandbox's persona, asked as the vendor would be. ``settings`` has what this agent's persona answers by rule."""

    def __init__(self, settings: LlmSettings, rng: Random, troubles: Troubles) -> None:
        self._settings, self._rng, self._troubles = settings, rng, troubles
        self._calls = 0

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        """See ``calls.ports.Model``."""
        trouble = self._troubles.take("model_slow", "model_refuses", "model_cut")
        answer = choose(_conversation(agent, ask), self._settings)
        first_ms = self._rng.lognormvariate(5.85, 0.28)
        if trouble is not None and trouble.what == "model_slow":
            first_ms = trouble.ms
        await asyncio.sleep(first_ms / 1000)
        turn, epoch = ask.turn, ask.epoch
        if trouble is not None and trouble.what == "model_refuses":
            post(e.ModelFailed(turn=turn, epoch=epoch, kind="server", retryable=True, endpoint="primary"))
            return
        pieces = tokens(answer.text)
        for place, piece in enumerate(pieces):
            post(e.ModelText(turn=turn, epoch=epoch, text=piece))
            await asyncio.sleep(_MS_PER_TOKEN / 1000)
            if trouble is not None and trouble.what == "model_cut" and place >= len(pieces) // 2:
                post(e.ModelFailed(turn=turn, epoch=epoch, kind="cut", retryable=True, endpoint="primary"))
                return
        post(self._finish(ask, answer, post))

    def _finish(self, ask: AskModel, answer: Answer, post: Post) -> e.Event:
        for call in answer.calls:
            self._calls += 1
            post(
                e.ModelToolCall(
                    turn=ask.turn,
                    epoch=ask.epoch,
                    call_id=f"call_{self._calls}",
                    name=call.name,
                    arguments=call.arguments,
                )
            )
        read = sum(count_tokens(entry.text) for entry in ask.messages)
        return e.ModelFinished(
            turn=ask.turn,
            epoch=ask.epoch,
            reason="tool_calls" if answer.calls else "stop",
            input_tokens=read,
            output_tokens=count_tokens(answer.text),
            cached_tokens=read // 2,
            model=MODEL,
        )

    async def warm(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing is open."""


def _conversation(agent: AgentProfile, ask: AskModel) -> Conversation:
    """The request as the sandbox reads it from the wire."""
    import json

    instructions, turns = read_messages([message(entry, "developer") for entry in ask.messages])
    offered = tuple(Tool(tool.name, tool.description, json.loads(tool.parameters)) for tool in agent.tools)
    return Conversation(instructions, turns, offered)


class SlowMemory:
    """A caller's real memory, which answers in no virtual time, with the time that it usually takes."""

    def __init__(self, memory: CallMemory, rng: Random, troubles: Troubles) -> None:
        self._memory, self._rng, self._troubles = memory, rng, troubles
        self._is_first = True

    @property
    def on_card(self) -> Callable[[Card], object]:
        """See ``calls.ports.CallMemory``, as all below."""
        return self._memory.on_card

    @on_card.setter
    def on_card(self, told: Callable[[Card], object]) -> None:
        self._memory.on_card = told

    async def card(self) -> Card:
        """The caller's card."""
        return await self._memory.card()

    def hear(self, text: str) -> None:
        """The caller's words so far."""
        self._memory.hear(text)

    async def recall(self, text: str, deadline_ms: int) -> RecallResult:
        """What may help."""
        trouble = self._troubles.take("recall_slow", "recall_fails")
        took_ms = round(self._rng.lognormvariate(2.2, 0.4)) if trouble is None else trouble.ms
        found = await self._memory.recall(text, deadline_ms)
        await asyncio.sleep(took_ms / 1000)
        if trouble is not None and trouble.what == "recall_fails":
            return RecallResult(outcome="failed", took_ms=took_ms)
        return RecallResult(found.items, found.outcome, took_ms)

    def note(self, role: str, text: str, turn: int, at_ms: int) -> None:
        """What was said in this call."""
        self._memory.note(role, text, turn, at_ms)

    async def remember(self, text: str, key: str, turn: int, said: str) -> Remembered:
        """What the caller said."""
        await asyncio.sleep(self._rng.uniform(0.01, 0.04))
        return await self._memory.remember(text, key, turn, said)

    async def forget(self, what: str, key: str, turn: int) -> Forgotten:
        """What the caller means."""
        await asyncio.sleep(self._rng.uniform(0.02, 0.08))
        return await self._memory.forget(what, key, turn)

    async def aclose(self) -> None:
        """Let go of it."""
        await self._memory.aclose()
