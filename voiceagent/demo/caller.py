"""A caller who follows a script: what they do, and when, on the call's virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calls.core import events as e
from calls.core.speech import BYTES_PER_MS
from calls.core.state import Mode, Phase
from voiceagent.demo.speech import SILENCE
from voiceagent.demo.vendors import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from calls.actor import SessionActor
    from calls.mailbox import Clock
    from calls.media.recorder import Recorder
    from calls.ports import Post
    from voiceagent.demo.carrier import PlayingCarrier
    from voiceagent.demo.speech import Speak
    from voiceagent.demo.vendors import Troubles

_LOOK_S = 0.04
#: Who steps in.
OPERATOR = "demo-operator"
#: How long a caller waits for an answer, and for the end after the last line, before they hang up.
_PATIENCE_S, _END_S = 45.0, 30.0
_CHUNK_MS = 320
#: From sound to verdict: the detector's, and the recogniser's that a turn begins, may be over and is over.
_DETECTED_MS, _OPENED_MS, _SILENCE_MS, _EAGER_MS = 60, 130, 220, 270


@dataclass(frozen=True, slots=True)
class Say:
    """Wait until the assistant is done, then say this. ``halt``: the words before which the caller stops to think."""

    text: str
    halt: str = ""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Say this ``after_ms`` into the assistant's words."""

    text: str
    after_ms: int = 1500


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound ``after_ms`` into the assistant's words: a cough, or a back-channel where it has a ``text``."""

    ms: int = 220
    text: str = ""
    after_ms: int = 1200


@dataclass(frozen=True, slots=True)
class Wait:
    """Say nothing for so long."""

    ms: int


@dataclass(frozen=True, slots=True)
class Keys:
    """Press these keys once the assistant is done."""

    digits: str


@dataclass(frozen=True, slots=True)
class EarGone:
    """The recogniser goes away; for ``ms``, or for good."""

    ms: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody on our side wants the call over."""

    by: str


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator steps in once the assistant is done, or while it speaks (``mid``). ``does``: ``listen``, ``whisper``, ``say``,
    ``take_over`` (and hands back ``ms`` later), ``end``; ``text`` is the note, the sentence or the summary."""

    does: str
    text: str = ""
    ms: int = 0
    mid: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """The stream ends; ``how`` as in ``calls.core.events.CarrierGone``. ``mid``: while the assistant speaks."""

    how: str = "stop"
    mid: bool = False


Act = Say | Interrupt | Sound | Wait | Keys | EarGone | Asked | Operator | HangUp | Trouble


class ScriptedCaller:
    """Plays a script against a call. ``recorder``: where the call is recorded; ``pitch``: of the caller's voice."""

    def __init__(
        self,
        actor: SessionActor,
        carrier: PlayingCarrier,
        clock: Clock,
        post: Post,
        speak: Speak,
        rng: Random,
        troubles: Troubles,
        recorder: Recorder | None = None,
        pitch: float = 1.0,
    ) -> None:
        self._actor, self._carrier, self._clock, self._post = actor, carrier, clock, post
        self._speak, self._rng, self._troubles = speak, rng, troubles
        self._recorder, self._pitch = recorder, pitch

    async def play(self, acts: tuple[Act, ...]) -> None:
        """Do all of it, wait for the assistant to end the call, and hang up where it does not."""
        self._line_noise(0, 20)
        for act in acts:
            if self._is_over:
                return
            await self._do(act)
        await self._until(lambda: self._is_over, _END_S)
        if not self._is_over:
            self._post(e.CarrierGone(how="stop"))

    async def _do(self, act: Act) -> None:
        match act:
            case Trouble():
                await self._until_quiet()  # what is being answered goes well
                self._troubles.waiting.append(act)
            case Say(text, halt):
                await self._until_quiet()
                await asyncio.sleep(min(2.4, self._rng.lognormvariate(-0.7, 0.5)))
                await self._say(text, halt)
            case Interrupt(text, after_ms):
                await self._until_speaking(after_ms)
                await self._say(text, "")
            case Sound(ms, text, after_ms):
                await self._until_speaking(after_ms)
                await self._make_sound(ms, text)
            case Wait(ms):
                await asyncio.sleep(ms / 1000)
            case Keys(digits):
                await self._until_quiet()
                for digit in digits:
                    await asyncio.sleep(self._rng.uniform(0.25, 0.5))
                    self._post(e.DtmfPressed(digit=digit))
            case EarGone(ms):
                self._post(e.EarFailed(kind="closed", final=not ms))
                if ms:
                    await asyncio.sleep(ms / 1000)
                    self._post(e.EarReady())
            case Asked(by):
                await self._until_quiet()
                self._post(e.HangUpAsked(by=by))
            case Operator(_, _, _, mid):
                await (self._until_speaking(700) if mid else self._until_quiet())
                await self._step_in(act)
            case HangUp(how, mid):
                await (self._until_speaking(900) if mid else self._until_quiet())
                self._post(e.CarrierGone(how=how))

    async def _step_in(self, act: Operator) -> None:
        key = f"{act.does}-{self._clock.now_ms()}"
        match act.does:
            case "listen":
                self._post(e.OperatorListening(by=OPERATOR, on=True))
            case "whisper":
                self._post(e.OperatorWhispered(key=key, by=OPERATOR, text=act.text))
            case "say":
                self._post(e.OperatorSaid(key=key, by=OPERATOR, text=act.text, when="now" if act.mid else "next_pause"))
            case "take_over":
                self._post(e.OperatorTookOver(key=key, by=OPERATOR))
                await asyncio.sleep(act.ms / 1000)
                self._post(e.OperatorHandedBack(key=f"{key}-back", by=OPERATOR, summary=act.text))
            case "end":
                self._post(e.HangUpAsked(by="operator"))

    # --- waiting

    @property
    def _is_over(self) -> bool:
        return self._actor.state.phase in (Phase.ENDING, Phase.ENDED)

    async def _until(self, is_so: Callable[[], bool], most_s: float) -> None:
        end = self._clock.now_ms() + most_s * 1000
        while not is_so() and self._clock.now_ms() < end:  # noqa: ASYNC110 - looking costs virtual time alone
            await asyncio.sleep(_LOOK_S)

    async def _until_quiet(self) -> None:
        def is_quiet() -> bool:
            state = self._actor.state
            idle = state.mode is Mode.LISTENING and state.reply is None and state.cut is None
            return self._is_over or (state.phase is Phase.ACTIVE and idle and not self._carrier.is_playing)

        await self._until(is_quiet, _PATIENCE_S)

    async def _until_speaking(self, after_ms: int) -> None:
        await self._until(lambda: self._is_over or self._actor.state.mode is Mode.SPEAKING, _PATIENCE_S)
        await asyncio.sleep(after_ms / 1000)

    # --- sounds

    def _line_noise(self, at_ms: int, ms: int) -> None:
        if self._recorder is not None:
            self._recorder.heard(at_ms, SILENCE * (ms * BYTES_PER_MS))

    async def _say(self, text: str, halt: str) -> None:
        parts = text.partition(halt) if halt else (text, "", "")
        first = parts[0].strip()
        last = (parts[1] + parts[2]).strip()
        await self._speak_part("", first, opens=True)
        if last:
            await asyncio.sleep(_EAGER_MS / 1000)
            self._post(e.EagerEnd(text=first))
            await asyncio.sleep(self._rng.uniform(0.12, 0.3))
            self._post(e.TurnResumed())
            await self._speak_part(first + " ", last, opens=False)
        await asyncio.sleep((_EAGER_MS - _SILENCE_MS) / 1000)
        whole = f"{first} {last}".strip()
        if self._rng.random() < 0.7:
            self._post(e.EagerEnd(text=whole))
            await asyncio.sleep(self._rng.uniform(0.12, 0.3))
        else:
            await asyncio.sleep(self._rng.uniform(0.3, 0.7))
        self._post(e.TurnEnded(text=whole))

    async def _speak_part(self, before: str, text: str, *, opens: bool) -> None:
        """Say it, and have the detector and the recogniser hear it as it is said."""
        spoken = self._speak(text, self._pitch)
        began_ms = self._clock.now_ms()
        heard = ""
        at_ms, is_open = 0, not opens
        await asyncio.sleep(_DETECTED_MS / 1000)
        self._post(e.SpeechStarted(voiced_at_ms=began_ms))
        while at_ms < spoken.ms:
            piece = spoken.audio[at_ms * BYTES_PER_MS : (at_ms + _CHUNK_MS) * BYTES_PER_MS]
            if self._recorder is not None:
                self._recorder.heard(began_ms + at_ms, piece)
            at_ms += _CHUNK_MS
            await asyncio.sleep(max(0, began_ms + min(at_ms, spoken.ms) - self._clock.now_ms()) / 1000)
            if not is_open and at_ms >= _OPENED_MS:
                self._post(e.TurnOpened())
                is_open = True
            said = " ".join(word.text for word in spoken.words if word.end_ms <= at_ms)
            if said and said != heard:
                heard = said
                self._post(e.WordsHeard(text=before + said))
        ended_ms = began_ms + spoken.ms
        await asyncio.sleep(_SILENCE_MS / 1000)
        self._post(e.SpeechEnded(voiced_until_ms=ended_ms))

    async def _make_sound(self, ms: int, text: str) -> None:
        if text:
            await self._say(text, "")
            return
        began_ms = self._clock.now_ms()
        await asyncio.sleep(_DETECTED_MS / 1000)
        self._post(e.SpeechStarted(voiced_at_ms=began_ms))
        await asyncio.sleep((ms + _SILENCE_MS) / 1000)
        self._post(e.SpeechEnded(voiced_until_ms=began_ms + ms))
