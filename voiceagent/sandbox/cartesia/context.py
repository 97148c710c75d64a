"""One context of the voice's socket: buffers text, speaks it, ends, flushes, cancels and expires."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from voiceagent.sandbox import mishaps, sound
from voiceagent.sandbox.cartesia.generation import Generation, locked_fields, text_of
from voiceagent.sandbox.cartesia.wire import Refusal, new_request_id
from voiceagent.sandbox.script import Fault
from voiceagent.sandbox.sound import BYTES_PER_SAMPLE

if TYPE_CHECKING:
    from voiceagent.sandbox.engines.base import Engines, Speech, SpokenWord
    from voiceagent.sandbox.state import Entry, Namespace

# Milliseconds of audio per chunk: irregular, and no whole number of 20 ms frames.
CHUNK_MS = (93, 171, 117, 233, 149, 201, 87)
_UNIT_END = re.compile(r"[.!?…][\"')\]]?\s+|[.!?…][\"')\]]?$")

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Delivery:
    """How a context reaches its socket, and what goes wrong on the way."""

    send: Send
    damage: Callable[[str], Awaitable[None]]
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class _Job:
    """Text to speak, or the end of a flush group, or the end of all input."""

    text: str = ""
    flush_id: int = 0
    ends_group: bool = False
    ends_all: bool = False
    submitted_at: float = 0.0


class Context:
    """See the module. ``retire`` is called once, when the context has closed."""

    def __init__(
        self,
        context_id: str,
        generation: Generation,
        engines: Engines,
        namespace: Namespace,
        delivery: Delivery,
        entry: Entry,
        retire: Callable[[str], None],
    ) -> None:
        self._id, self._generation, self._engines = context_id, generation, engines
        self._namespace, self._delivery, self._entry, self._retire = namespace, delivery, entry, retire
        self._settings = namespace.settings.tts
        self._buffer = ""
        self._flush_id = 1
        self._timer: asyncio.TimerHandle | None = None
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._input_open = True
        self._late_chunks: int | None = None
        self._chunks = cycle(CHUNK_MS)
        self._samples_sent = 0
        self._free_at = 0.0
        namespace.open_contexts += 1
        self._task = asyncio.create_task(self._run())

    def add(self, message: dict[str, Any]) -> None:
        """Take a request on this context. Raises :class:`Refusal`."""
        if not self._input_open or self._late_chunks is not None:
            raise Refusal(400, "Context has closed")
        changed = [name for name, value in locked_fields(message).items() if self._generation.locked.get(name) != value]
        if changed:
            raise Refusal(400, f"within a context these fields must not change: {', '.join(sorted(changed))}")
        text = text_of(message)
        last = not message.get("continue", False)
        self._entry["texts"].append({"at_ms": self._namespace.journal.elapsed_ms(), "text": text, "continue": not last})
        self._buffer += text
        flush = bool(message.get("flush")) or (self._generation.buffer_ms == 0 and bool(text))
        self._submit(everything=flush or last)
        if flush:
            self._jobs.put_nowait(_Job(flush_id=self._flush_id, ends_group=True))
            self._flush_id += 1
        if last:
            self._input_open = False
            self._jobs.put_nowait(_Job(ends_all=True))

    def _submit(self, everything: bool) -> None:
        """Hand text to the voice: all of it, or whole sentences only; the rest waits for its timer."""
        cut = len(self._buffer)
        if not everything:
            ends = [match.end() for match in _UNIT_END.finditer(self._buffer)]
            cut = ends[-1] if ends else 0
        ready, self._buffer = self._buffer[:cut], self._buffer[cut:]
        loop = asyncio.get_running_loop()
        if ready:
            self._jobs.put_nowait(_Job(text=ready, flush_id=self._flush_id, submitted_at=loop.time()))
        if self._timer is not None and (ready or not self._buffer):
            self._timer.cancel()
            self._timer = None
        if self._buffer and self._timer is None:
            self._timer = loop.call_later(self._generation.buffer_ms / 1000, self._submit, True)

    def cancel(self) -> None:
        """Stop work not yet begun; one or two chunks of what is under way still go out."""
        fault = self._delivery.fault
        late = fault.count if fault is not None and fault.kind == "late_chunks" else self._settings.late_chunks
        self._late_chunks = late
        self._entry["cancelled_at_ms"] = self._namespace.journal.elapsed_ms()
        while not self._jobs.empty():
            self._jobs.get_nowait()
        self._jobs.put_nowait(_Job(ends_all=True))
        if late == 0:
            self.stop("cancelled")

    def stop(self, outcome: str) -> None:
        """End at once."""
        self._entry["outcome"] = outcome
        self._task.cancel()

    async def _run(self) -> None:
        try:
            outcome = await self._work()
        except mishaps.CutError:
            outcome = "failed"
        except asyncio.CancelledError:
            outcome = self._entry["outcome"]
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._namespace.open_contexts -= 1
            self._entry["ended_ms"] = self._namespace.journal.elapsed_ms()
            self._retire(self._id)
        self._entry["outcome"] = outcome

    async def _work(self) -> str:
        while True:
            try:
                async with asyncio.timeout(self._expires_in_s()):
                    job = await self._jobs.get()
            except TimeoutError:
                await self._say("done", done=True)
                return "expired"
            if job.text:
                if await self._speak(job):
                    return "cancelled"
            elif job.ends_group:
                await self._say("flush_done", flush_done=True, flush_id=job.flush_id)
            elif self._late_chunks is not None:
                return "cancelled"
            else:
                await self._say("done", done=True)
                return "done"

    def _expires_in_s(self) -> float | None:
        """A context that has spoken expires a while after its last audio; text in its buffer keeps it alive."""
        if not self._samples_sent or self._buffer or not self._jobs.empty():
            return None
        return self._settings.expiry_ms / 1000

    async def _speak(self, job: _Job) -> bool:
        """Speak a piece of text; true if a cancel ended it."""
        loop = asyncio.get_running_loop()
        earliest = job.submitted_at + self._settings.first_byte_ms / 1000
        generation = self._generation
        async for speech in self._engines.speak(job.text, generation.rate, generation.pace, self._settings):
            await asyncio.sleep(max(0.0, max(earliest, self._free_at) - loop.time()))
            if await self._stream(speech, job.flush_id):
                return True
        return False

    async def _stream(self, speech: Speech, flush_id: int) -> bool:
        base_s = self._samples_sent / self._generation.rate
        words = list(speech.words)
        position = 0
        loop = asyncio.get_running_loop()
        while position < len(speech.samples):
            size = next(self._chunks) * self._generation.rate // 1000
            piece = speech.samples[position : position + size]
            position += len(piece)
            begun = [word for word in words if word.start_s * self._generation.rate < position]
            words = words[len(begun) :]
            if position >= len(speech.samples):
                begun, words = begun + words, []
            await self._misbehave()
            # The order of a chunk and its words is not promised: it alternates.
            words_first = self._entry["chunks"] % 2 == 0
            if words_first:
                await self._send_words(begun, base_s, flush_id)
            await self._send_chunk(piece, flush_id)
            if not words_first:
                await self._send_words(begun, base_s, flush_id)
            self._free_at = loop.time() + len(piece) / self._generation.rate / self._settings.speed
            if await self._cancelled_now():
                return True
            await asyncio.sleep(self._free_at - loop.time())
        return False

    async def _cancelled_now(self) -> bool:
        if self._late_chunks is None:
            return False
        fault = self._delivery.fault
        if fault is not None and fault.kind == "late_chunks" and fault.delay_ms:
            await asyncio.sleep(fault.delay_ms / 1000)
        self._late_chunks -= 1
        return self._late_chunks < 0

    async def _send_chunk(self, piece: sound.Samples, flush_id: int) -> None:
        raw = sound.encode(piece, self._generation.encoding)
        step_ms = round(len(raw) / BYTES_PER_SAMPLE[self._generation.encoding] / 80, 3)
        self._samples_sent += len(piece)
        self._entry["chunks"] += 1
        self._entry["bytes"] += len(raw)
        self._entry.setdefault("first_chunk_ms", self._namespace.journal.elapsed_ms())
        data = base64.b64encode(raw).decode()
        await self._say("chunk", step_time=step_ms, data=data, flush_id=flush_id)

    async def _send_words(self, words: list[SpokenWord], base_s: float, flush_id: int) -> None:
        if not words:
            return
        if self._generation.word_timestamps:
            table = {
                "words": [word.text for word in words],
                "start": [round(base_s + word.start_s, 3) for word in words],
                "end": [round(base_s + word.end_s, 3) for word in words],
            }
            await self._say("timestamps", word_timestamps=table, flush_id=flush_id)
        if self._generation.phoneme_timestamps:
            await self._say("phoneme_timestamps", phoneme_timestamps=_phonemes(words, base_s), flush_id=flush_id)

    async def _say(self, kind: str, done: bool = False, **fields: Any) -> None:
        await self._delivery.send({"type": kind, "context_id": self._id, "status_code": 206, "done": done, **fields})

    async def _misbehave(self) -> None:
        """Strike with the fault of this context when enough chunks have gone out."""
        fault = self._delivery.fault
        if fault is None or self._entry["chunks"] != fault.after:
            return
        if fault.kind == "stall":
            self._delivery.fault = None
            await mishaps.stall(fault)
        elif fault.kind in ("cut", "close"):
            await self._delivery.damage(fault.kind)
            raise mishaps.CutError
        elif fault.kind == "garbage":
            self._delivery.fault = None
            with contextlib.suppress(ConnectionError):
                await self._delivery.damage("garbage")
        elif fault.kind == "error":
            refusal = Refusal(fault.status, fault.message or "failed by instruction", fault.code)
            await self._delivery.send(refusal.event(new_request_id(), done=True, context_id=self._id))
            raise mishaps.CutError


def _phonemes(words: list[SpokenWord], base_s: float) -> dict[str, list[Any]]:
    """Letters for phonemes, spread evenly over each word."""
    table: dict[str, list[Any]] = {"phonemes": [], "start": [], "end": []}
    for word in words:
        step_s = (word.end_s - word.start_s) / max(1, len(word.text))
        for i, letter in enumerate(word.text):
            table["phonemes"].append(letter)
            table["start"].append(round(base_s + word.start_s + i * step_s, 3))
            table["end"].append(round(base_s + word.start_s + (i + 1) * step_s, 3))
    return table
