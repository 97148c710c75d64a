"""One cell of the vendors' matrix, played over real sockets: what the caller hears, and what stands on record afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from calls.core.phrases import PHRASES
from calls.phrasebook import shipped_audio
from tests.conformance import ears
from tests.line.conftest import speech
from voiceagent.sandbox.carrier import AgentStarted, CallerStopped, HungUp, PhoneCall, StreamOpened
from voiceagent.sandbox.carrier.stream import VOICED
from voiceagent.sandbox.control import Reply
from voiceagent.sandbox.sound import FRAME_BYTES, FRAME_MS, loudness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.cells import Cell
    from tests.faults.stage import Line

GREETING = "Welcome everybody."
ASKED, ANSWER = "What is on the menu?", "Pasta with mushrooms, some grilled fish, and soup."
NEXT = "From noon."
IDLE, GOODBYE = "Hello?", "Farewell."
KNOWN = ears.Vocabulary([GREETING, ANSWER, NEXT, IDLE, GOODBYE])

#: Where a vendor's connections are told apart by what they begin with, and its endpoints in the stand-in.
PATHS = {"STT": "/stt", "TTS": "/tts", "LLM": "/v1/", "REST": "/2010-04-01"}
ENDPOINTS = {"STT": "cartesia.stt", "TTS": "cartesia.tts.socket", "LLM": "openai", "REST": "twilio"}
#: How much of a recorded phrase is played, and by which part of that it is recognised.
PHRASE_BYTES, _SIGN = 13_000, slice(4000, 12_000)
SLOW_MS = 700.0
#: How long a fault that lasts keeps the recogniser away, where nothing else says when it is over.
OUTAGE_S = 1.0
_BAD_ANSWER = b"HTTP/1.1 2x0 \x00rubbish\r\n\r\n"
_CUT_ANSWER = b"HTTP/1.1 200 "


@dataclass
class Seen:
    """What became of a cell. ``hears`` is what the caller heard under the fault, ``next`` in the turn after it."""

    hears: tuple[str, ...] = ()
    silence_ms: float = 0.0
    turn: str = ""
    user_text: str = ""
    causes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    end: str = ""
    other: dict[str, Any] = field(default_factory=dict)


def strike(line: Line, vendor: str, fault: str, state: str) -> None:
    """Let the fault begin."""
    proxy, only = line.vendors, PATHS[vendor]
    fresh = state in ("connecting", "listening")  # nothing is being said: it meets what is opened next
    actions: dict[str, Callable[[], object]] = {
        "refuse": lambda: proxy.refuse(only),
        "time-out": lambda: proxy.time_out(only),
        "hang": lambda: proxy.hang(only),
        "cut": lambda: proxy.answer(_CUT_ANSWER, only, times=1) if state == "connecting" else proxy.cut(only),
        "garbage": lambda: proxy.answer(_BAD_ANSWER, only, times=1) if fresh else proxy.rubbish(only),
        "429": lambda: proxy.cut(only),
        "slow": lambda: proxy.slow(SLOW_MS, only),
    }
    if fault == "429":
        faults = line.twilio if vendor == "REST" else line.openai if vendor == "LLM" else line.cartesia
        faults.fault(ENDPOINTS[vendor], "refuse", status=429, times=0)
    actions[fault]()


def heal(line: Line) -> None:
    """The vendor is as before."""
    line.vendors.heal()
    for handle in (line.cartesia, line.openai, line.twilio):
        handle.clear_faults()


async def play(cell: Cell, line: Line) -> Seen:
    """Place the call that the cell is about."""
    line.cartesia.configure(
        tts={"ms_per_char": 40, "speed": 1.2 if cell.state == "speaking" else 20},
        stt={"eager_end_ms": 200, "end_ms": 300, "utterances": [ASKED]},
    )
    streaming = (cell.vendor, cell.state) == ("LLM", "speaking")
    line.openai.configure(llm={"first_token_ms": 300, "inter_token_ms": 60 if streaming else 2})
    line.answers(("menu", Reply(text=ANSWER)), ("keypad", Reply(text=NEXT)))
    seen, phone = Seen(), line.call(f"+1555{time.monotonic_ns() // 1000 % 10**7:07d}")
    if cell.state == "connecting":
        strike(line, cell.vendor, cell.fault, cell.state)
        await phone.start()
        await _settled(line, phone)
        if cell.vendor in ("STT", "LLM"):
            await asyncio.sleep(OUTAGE_S if cell.vendor == "STT" else 0)
        opened = phone.timeline.last(StreamOpened)
        assert opened is not None
        seen.hears = heard(phone, 0)
        seen.silence_ms = longest_silence(phone, opened.at_ms)
        heal(line)
    else:
        await phone.start()
        await _settled(line, phone)
        await _turn_under_fault(cell, line, phone, seen)
    if phone.is_up:
        await _next_turn(cell, line, phone, seen)
    if phone.is_up:
        await phone.hang_up()
    await _on_record(cell, line, phone, seen)
    return seen


async def _next_turn(cell: Cell, line: Line, phone: PhoneCall, seen: Seen) -> None:
    """Speak where the recogniser was the one that failed; else a key will do, which takes less time."""
    after_ms = _here(phone)
    if cell.vendor == "STT":
        await asyncio.sleep(0.4)
        await phone.speak(speech(600))
    else:
        await phone.dtmf("#", gap_ms=0)
    await _until(lambda: phone.agent_heard_ms > after_ms, phone)
    await _settled(line, phone)
    seen.next = heard(phone, after_ms)


async def _turn_under_fault(cell: Cell, line: Line, phone: PhoneCall, seen: Seen) -> None:
    begun_ms, asked = _here(phone), len(line.openai.journal("openai.chat"))
    lasting = asyncio.create_task(asyncio.sleep(0))
    if cell.state == "listening":
        strike(line, cell.vendor, cell.fault, cell.state)
        lasting = asyncio.create_task(_after(cell, line))
        await asyncio.sleep(0.3)
    await phone.speak(speech(600))
    if cell.state == "thinking":
        await line.openai.wait_for("openai.chat", asked + 1)
    elif cell.state == "speaking":
        await _until(lambda: phone.agent_heard_ms > begun_ms, phone)
        await asyncio.sleep(0.4)
    if cell.state != "listening":
        strike(line, cell.vendor, cell.fault, cell.state)
        lasting = asyncio.create_task(_after(cell, line))
    await _settled(line, phone, answered=True)
    await lasting
    stopped = phone.timeline.last(CallerStopped)
    assert stopped is not None
    seen.hears = heard(phone, begun_ms)
    seen.silence_ms = longest_silence(phone, stopped.at_ms)
    heal(line)


async def _after(cell: Cell, line: Line) -> None:
    """A recogniser comes back by itself, whatever the call does meanwhile; the others when the turn is over."""
    if cell.vendor == "STT" and cell.fault != "slow":
        await asyncio.sleep(OUTAGE_S)
        heal(line)


async def _settled(line: Line, phone: PhoneCall, *, answered: bool = False) -> None:
    """Nothing is said or worked on. ``answered``: something was, after the caller's last words."""
    stopped = phone.timeline.last(CallerStopped)
    since_ms = stopped.at_ms if answered and stopped is not None else 0.0

    def settled() -> bool:
        session = line.runtime.registry.live.get(phone.call_sid)
        if session is None:
            return not phone.is_up
        state = session.actor.state
        quiet = state.reply is None and state.cut is None and not phone.agent_speaks
        return quiet and phone.agent_heard_ms > since_ms

    await _until(settled, phone)


async def _until(what: Callable[[], bool], phone: PhoneCall, timeout_s: float = 25.0) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while phone.is_up and not what():  # noqa: ASYNC110 - it becomes true by time passing
                await asyncio.sleep(0.05)


def _here(phone: PhoneCall) -> float:
    return phone.timeline.now_ms()


async def _on_record(cell: Cell, line: Line, phone: PhoneCall, seen: Seen) -> None:
    row = await line.row(phone)
    over = phone.timeline.last(HungUp)
    turns = [turn async for turn in row.turns.order_by("number")]
    closed = {entry.data["turn"]: entry.data async for entry in row.events.filter(type="TurnClosed")}
    under = turns[0] if cell.state == "connecting" else turns[1] if len(turns) > 1 else turns[0]
    seen.turn, seen.user_text, seen.end = under.outcome, under.user_text, row.end_reason
    seen.causes = tuple(dict.fromkeys(closed[under.number]["causes"]))
    seen.other = {
        "violations": row.violations,
        "broken": row.broken_count,
        "turns": [(turn.kind, turn.outcome, turn.user_text, turn.heard_text) for turn in turns],
        "over": over and over.reason,
    }


# --- what was heard -----------------------------------------------------------------------------------------------


def heard(phone: PhoneCall, from_ms: float) -> tuple[str, ...]:
    """What the caller heard from a moment of the timeline on: texts of ours by name, phrases by key, each once."""
    opened = phone.timeline.last(StreamOpened)
    assert opened is not None
    mulaw = phone.heard
    first = max(0, int(from_ms - opened.at_ms) * 8)
    phrases = list(_phrases(mulaw, first))
    words = [
        (word.at_ms, word.text)
        for word in KNOWN.words_in(mulaw[first:])
        if not any(at - 20 <= word.at_ms < until for at, until, _ in phrases)
    ]
    items = [(at, key) for at, _, key in phrases] + _texts(words)
    return tuple(name for _, name in sorted(items))


def _phrases(mulaw: bytes, first: int) -> list[tuple[float, float, str]]:
    """From when to when, in ms, which recorded phrase was played, by a second of it as it is."""
    found = []
    for key in PHRASES["en"]:
        audio = shipped_audio("en", key)
        at = mulaw.find(audio[_SIGN], first)
        if at >= 0:
            begun_ms = (at - _SIGN.start - first) / 8
            found.append((begun_ms, begun_ms + PHRASE_BYTES / 8, key))
    return found


_TEXTS = {"greeting": GREETING, "answer": ANSWER, "next": NEXT, "idle": IDLE, "goodbye": GOODBYE}


def _texts(words: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Words put together to the texts they are of: ``answer``; what is not whole is named so."""
    found: list[tuple[float, str]] = []
    rest = list(words)
    while rest:
        name = next((name for name, text in _TEXTS.items() if rest[0][1] in ears.spoken(text)), "")
        wanted = ears.spoken(_TEXTS[name]) if name else [rest[0][1]]
        mine = list(itertools.takewhile(lambda word, wanted=wanted: word[1] in wanted, rest))  # type: ignore[misc]
        if [word for _, word in mine[: len(wanted)]] == wanted:
            mine = mine[: len(wanted)]
        found.append((mine[0][0], name + _shape([word for _, word in mine], wanted) if name else "?"))
        rest = rest[len(mine) :]
    return found


def _shape(words: list[str], wanted: list[str]) -> str:
    """How a text was heard: nothing where it was heard whole and in order; a word may be said again at a seam."""
    once = [word for word, _ in itertools.groupby(words)]
    if once == wanted:
        return ""
    if once == wanted[: len(once)]:
        return " (beginning)"
    if once == wanted[-len(once) :]:
        return " (end)"
    return f" (wrong: {' '.join(words)})"


def longest_silence(phone: PhoneCall, from_ms: float) -> float:
    """The longest time that the caller heard nothing, from a moment of the timeline to the agent's last sound."""
    opened = phone.timeline.last(StreamOpened)
    assert opened is not None
    mulaw = phone.heard
    first = max(0, int((from_ms - opened.at_ms) / FRAME_MS))
    loud = [
        at
        for at in range(first, len(mulaw) // FRAME_BYTES)
        if loudness(mulaw[at * FRAME_BYTES : (at + 1) * FRAME_BYTES]) > VOICED
    ]
    gaps = [after - before for before, after in itertools.pairwise([first, *loud])]
    return float(max(gaps, default=0) * FRAME_MS)


def first_sound_ms(phone: PhoneCall) -> float:
    """When the caller first heard the agent, from the moment they dialled."""
    began = next(iter(phone.timeline.all(AgentStarted)), None)
    assert began is not None
    return began.at_ms
