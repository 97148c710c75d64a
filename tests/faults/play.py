"""One cell of the vendors' matrix, played over real sockets: what the caller hears, and what stands on record afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from calls.core.phrases import PHRASES, filler_text, shipped_text
from calls.phrasebook import shipped_audio
from tests.conformance import ears
from tests.faults.cells import OTHER_WAITS_MS
from tests.faults.pace import Spell
from tests.line.conftest import speech
from voiceagent.sandbox.carrier import AgentStarted, CallerStopped, HungUp, PhoneCall, StreamOpened
from voiceagent.sandbox.carrier.stream import VOICED
from voiceagent.sandbox.control import Reply, ToolCall
from voiceagent.sandbox.engines.chords import said
from voiceagent.sandbox.openai.conversation import tokens
from voiceagent.sandbox.sound import FRAME_BYTES, FRAME_MS, loudness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.cells import Cell
    from tests.faults.stage import Line

GREETING = "Welcome everybody."
ASKED, ANSWER = "Which dishes tonight?", "Pasta with mushrooms, some grilled fish, and soup."
#: What of the answer the voice is given first: to the end of the clause with which there is enough to say.
FIRST_SAID = "Pasta with mushrooms, some grilled fish,"
NEXT = "From noon."
IDLE, GOODBYE = "Hello?", "Farewell."
FILLER = filler_text("en").strip()
APOLOGY = shipped_text("en", "model_failed")
KNOWN = ears.Vocabulary([GREETING, ANSWER, NEXT, IDLE, GOODBYE, FILLER, APOLOGY])
#: The question, as our detector and the stand-in's recogniser hear it: that somebody speaks, and which words. To the detector a
#: chord is no voice; without one before and behind each word the caller would have fallen silent in the middle.
QUESTION = speech(250) + b"".join(said(word) + speech(150) for word in ASKED.split())

#: Where a vendor's connections are told apart by what they begin with, and its endpoints in the stand-in.
PATHS = {"STT": "/stt", "TTS": "/tts", "LLM": "/v1/", "REST": "/2010-04-01"}
ENDPOINTS = {"STT": "cartesia.stt", "TTS": "cartesia.tts.socket", "LLM": "openai", "REST": "twilio"}
#: The deadlines of the cells' agent and its vendors, short enough for a test, and what no setting bounds.
POLICY: dict[str, Any] = {
    "first_token_ms": 2500,
    "first_audio_ms": 1500,
    "patience_ms": 1200,
    "playback_slack_ms": 500,
    "hangup_grace_ms": 1000,
    "speculative": False,
    "idle_ms": 8000,
    "ear_away_ms": 3000,
}
CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS, REST_TIMEOUT_MS = 1200, 1500, 700
WAITS_MS = {**POLICY, "read_timeout_ms": READ_TIMEOUT_MS, "connect_timeout_ms": CONNECT_TIMEOUT_MS, **OTHER_WAITS_MS}
#: How much of a recorded phrase is played, and by which part of that it is recognised.
PHRASE_BYTES, _SIGN = 13_000, slice(4000, 12_000)
SLOW_MS = 700.0
#: Where a fault is to meet a model that writes, it takes its time for each piece of a word.
WRITING_MS = 220
#: How long a fault that lasts keeps the recogniser away, where nothing else says when it is over.
OUTAGE_S = 1.0
_BAD_ANSWER = b"HTTP/1.1 2x0 \x00rubbish\r\n\r\n"
_CUT_ANSWER = b"HTTP/1.1 200 "


class TooLateError(Exception):
    """What the fault was to meet was over: nothing was tried."""


@dataclass
class Seen:
    """What became of a cell. ``hears`` is what the caller heard under the fault, ``next`` in the turn after it; ``silence_ms``
    is the longest silence, see ``longest_silence``; ``spell`` what the machine took of the cell."""

    hears: tuple[str, ...] = ()
    silence_ms: float = 0.0
    turn: str = ""
    user_text: str = ""
    causes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    end: str = ""
    spell: Spell = field(default_factory=Spell)
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
    """The vendor is as before, and the breakers know it."""
    line.vendors.heal()
    for handle in (line.cartesia, line.openai, line.twilio):
        handle.clear_faults()
    line.forget_failures()


async def play(cell: Cell, line: Line, spell: Spell) -> Seen:
    """Place the call that the cell is about, in a spell of its own."""
    # Where words may get lost the stand-in hears them, which costs it more than all else; elsewhere it is told.
    by_ear = (cell.vendor, cell.state) == ("STT", "listening")
    line.cartesia.configure(
        tts={"ms_per_char": 40, "speed": 1.2 if cell.state == "speaking" else 20},
        stt={"eager_end_ms": 200, "end_ms": 300, "utterances": [ASKED], "vocabulary": [ASKED] if by_ear else []},
    )
    line.openai.configure(llm={"first_token_ms": 300, "inter_token_ms": WRITING_MS if _is_writing(cell) else 2})
    reply = Reply(text=GOODBYE, tool_calls=[ToolCall(name="end_call")]) if cell.vendor == "REST" else Reply(text=ANSWER)
    line.answers(("dishes", reply), ("keypad", Reply(text=NEXT)))
    seen, phone = Seen(spell=spell), line.call(f"+1555{time.monotonic_ns() // 1000 % 10**7:07d}")
    if cell.state == "connecting":
        strike(line, cell.vendor, cell.fault, cell.state)
        await phone.start()
        await _settled(line, phone)
        if cell.vendor in ("STT", "LLM"):
            await asyncio.sleep(OUTAGE_S if cell.vendor == "STT" else 0)
        opened = phone.timeline.last(StreamOpened)
        assert opened is not None
        seen.hears = heard(phone, 0)
        seen.silence_ms = longest_silence(phone, opened.at_ms, spell)
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


def _is_writing(cell: Cell) -> bool:
    return (cell.vendor, cell.state) == ("LLM", "speaking")


async def _next_turn(cell: Cell, line: Line, phone: PhoneCall, seen: Seen) -> None:
    """Speak where the recogniser was the one that failed; else a key will do, which takes less time."""
    if cell.vendor in ("STT", "TTS"):
        await _until(lambda: _is_connected(line, cell.vendor), phone, timeout_s=8)
        await phone.wait_for_quiet()
    after_ms = _here(phone)
    if cell.vendor == "STT":
        await phone.speak(QUESTION)
        await _settled(line, phone, answered=True)
    else:
        await phone.dtmf("#", gap_ms=0)
        await _until(lambda: phone.agent_heard_ms > after_ms, phone)
        await _settled(line, phone)
    seen.next = heard(phone, after_ms)


def _is_connected(line: Line, vendor: str) -> bool:
    journal = line.cartesia.journal("cartesia.stt.turns" if vendor == "STT" else "cartesia.tts.socket")
    return any(entry["outcome"] == "open" for entry in journal)


async def _turn_under_fault(cell: Cell, line: Line, phone: PhoneCall, seen: Seen) -> None:
    begun_ms, asked = _here(phone), len(line.openai.journal("openai.chat"))
    lasting = asyncio.create_task(asyncio.sleep(0))
    if cell.state == "listening":
        strike(line, cell.vendor, cell.fault, cell.state)
        lasting = asyncio.create_task(_after(cell, line))
        await asyncio.sleep(0.3)
    await phone.speak(QUESTION)
    if cell.state == "thinking":
        await line.openai.wait_for("openai.chat", asked + 1)
    elif cell.state == "speaking":
        await _until(lambda: phone.agent_heard_ms > begun_ms, phone)
        await asyncio.sleep(0 if cell.vendor == "LLM" else 0.4)
        if cell.vendor == "LLM" and all("text" in entry for entry in line.openai.journal("openai.chat")[asked:]):
            raise TooLateError("the model had said everything before the fault could meet it")
    if cell.state != "listening":
        strike(line, cell.vendor, cell.fault, cell.state)
        lasting = asyncio.create_task(_after(cell, line))
    await _settled(line, phone, answered=True)
    await lasting
    stopped = phone.timeline.last(CallerStopped)
    assert stopped is not None
    seen.hears = heard(phone, begun_ms)
    writing_ms = WRITING_MS * (len(tokens(FIRST_SAID)) - 1) if _is_writing(cell) else 0
    seen.silence_ms = longest_silence(phone, stopped.at_ms, seen.spell, writing_ms)
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
    ear = [
        (entry.type, entry.at_ms)
        async for entry in row.events.filter(type__in=("EarFailed", "EarReady")).order_by("seq")
    ]
    away_ms = [after - before for (what, before), (_, after) in itertools.pairwise(ear) if what == "EarFailed"]
    seen.other = {
        "violations": row.violations,
        "broken": row.broken_count,
        "turns": [(turn.kind, turn.outcome, turn.user_text, turn.heard_text) for turn in turns],
        "over": over and over.reason,
        "ear_away_ms": max(away_ms, default=0),
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


_TEXTS = {
    "greeting": GREETING,
    "answer": ANSWER,
    "next": NEXT,
    "idle": IDLE,
    "goodbye": GOODBYE,
    "filler": FILLER,
    "apology": APOLOGY,
}


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


def longest_silence(phone: PhoneCall, from_ms: float, spell: Spell, before_ms: float = 0) -> float:
    """The longest time that the caller heard nothing, from a moment of the timeline to the agent's last sound.

    Of each silence without what the machine took of it, and of the first without ``before_ms``, for which the stand-ins let
    wait: what is left is the product's.
    """
    opened = phone.timeline.last(StreamOpened)
    assert opened is not None
    mulaw = phone.heard
    first = max(0, int((from_ms - opened.at_ms) / FRAME_MS))
    loud = [
        at
        for at in range(first, len(mulaw) // FRAME_BYTES)
        if loudness(mulaw[at * FRAME_BYTES : (at + 1) * FRAME_BYTES]) > VOICED
    ]
    zero_ms = phone.timeline.begun_at_ms + opened.at_ms

    def silence_ms(since: int, until: int) -> float:
        length_ms = float((until - since) * FRAME_MS)
        if length_ms == FRAME_MS:  # none: sound after sound, of which there is most
            return length_ms
        return length_ms - spell.lost_ms(zero_ms + since * FRAME_MS, zero_ms + until * FRAME_MS)

    silences_ms = [silence_ms(since, until) for since, until in itertools.pairwise([first, *loud])]
    silences_ms[:1] = [first_ms - before_ms for first_ms in silences_ms[:1]]
    return max(silences_ms, default=0.0)


def first_sound_ms(phone: PhoneCall) -> float:
    """When the caller first heard the agent, from the moment they dialled."""
    began = next(iter(phone.timeline.all(AgentStarted)), None)
    assert began is not None
    return began.at_ms


# --- the verdict --------------------------------------------------------------------------------------------------

#: From the caller's last sound to the answer in an ordinary turn on a machine that has other things to do: the end of
#: the turn, the model's first word and the voice's first sound take 0.8 s.
ORDINARY_MS = 2500


def faults_of(cell: Cell, seen: Seen | BaseException) -> list[str]:
    """What is not as the cell says."""
    if isinstance(seen, BaseException):
        return [f"{type(seen).__name__}: {seen}"]
    limit_ms = ORDINARY_MS + sum(WAITS_MS[wait] for wait in cell.waits)
    hears = {cell.hears}
    if (
        seen.other["ear_away_ms"] >= WAITS_MS["ear_away_ms"]
    ):  # the waits between attempts are drawn: these were long ones
        hears.add(("ear_moment", *cell.hears))
    checks = {
        f"heard {seen.hears}, not {cell.hears}": seen.hears in hears,
        f"silent for {seen.silence_ms:.0f} of {limit_ms} ms": seen.silence_ms <= limit_ms,
        f"the turn was {seen.turn}, not {cell.turn}": seen.turn == cell.turn,
        f"the call ended as {seen.end}": seen.end == cell.end,
        f"on record as failed: {seen.causes}": set(seen.causes) <= set(cell.causes)
        and (bool(seen.causes) or cell.silent or not cell.causes),
        f"the next turn: {seen.next}": cell.end != "caller_hung_up" or seen.next == _next(cell),
        f"understood: {seen.user_text!r}": seen.user_text == ("" if cell.state == "connecting" else ASKED),
        f"invariants broken: {seen.other['violations']}": not seen.other["violations"],
        f"unreadable entries: {seen.other['broken']}": not seen.other["broken"],
    }
    wrong = [text for text, holds in checks.items() if not holds]
    return [*wrong, f"turns: {seen.other['turns']}", str(seen.spell)] if wrong else []


def _next(cell: Cell) -> tuple[str, ...]:
    return ("answer",) if cell.vendor == "STT" else ("next",)
