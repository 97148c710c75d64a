"""What the call page says of a real call, held against its recording."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np
from asgiref.sync import sync_to_async

from calls import surroundings
from calls.media.peaks import PEAKS_PER_S
from voiceagent.console.call import page
from voiceagent.console.call.waterfall import waterfall
from voiceagent.sandbox.carrier import AgentStarted
from voiceagent.sandbox.control import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from calls.models import Call
    from tests.line.conftest import Line

#: How far the parts of the waterfall may be from the silence in the recording (issue 6, point 4).
WITHIN_MS = 20
_PER_MS = 8
#: A voice ends where it is 30 dB below its loudest, in steps of 8 ms: as the detector measures it.
_STEP = 64
_RANGE = 1e-3


def sides(call: Call) -> NDArray[np.float64]:
    """Both sides of its recording, one row each."""
    with wave.open(str(surroundings.recordings_dir() / call.recording.file), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).T.astype(float)


def last_voice_ms(caller: NDArray[np.float64], before_ms: int) -> float:
    """Where the caller's last sound before this place ends in the recording."""
    upto = caller[: before_ms * _PER_MS // _STEP * _STEP].reshape(-1, _STEP)
    power = np.square(upto).sum(axis=1)
    return float((np.flatnonzero(power >= power.max() * _RANGE)[-1] + 1) * _STEP / _PER_MS)


def first_sound_ms(agent: NDArray[np.float64], after_ms: float) -> float:
    """Where the agent's first sound after this place begins in the recording."""
    start = round(after_ms * _PER_MS)
    return float((np.flatnonzero(np.abs(agent[start:]) > 300)[0] + start) / _PER_MS)


async def test_the_waterfall_adds_up_to_the_silence_in_the_recording(line: Line, talk: Callable[[int], bytes]) -> None:
    line.ears.utterances("What time do you open?", "And on Monday?", "Thank you.")
    line.answers(
        ("open", Reply(text="We open at noon, every day but Monday.")),
        ("monday", Reply(text="On Monday we are closed.")),
        ("thank", Reply(text="You are welcome.")),
    )
    phone = line.call()
    await phone.start()
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    for ms in (900, 700, 1100):
        count = len(phone.timeline.events)
        await phone.speak(talk(ms))
        await phone.wait_for(AgentStarted, after=count)
        await phone.wait_for_quiet()
    await phone.hang_up()
    await line.archived_call(phone)
    call, of = await sync_to_async(_read)(phone.call_sid)

    caller, agent = sides(call)
    offset_ms = call.recording.starts_at_ms
    falls = [fall for _, steps in sorted(of.story.turns.items()) if (fall := waterfall(steps))]
    assert len(falls) == 3
    # A machine that is busy with other things hands frames over late; how late is kept with the call.
    within_ms = WITHIN_MS + call.audio["worst_ms"]
    off_ms: list[float] = []
    for fall in falls:
        ended_ms = last_voice_ms(caller, fall.until_ms - offset_ms)
        silence_ms = first_sound_ms(agent, ended_ms) - ended_ms
        off_ms.append(abs(fall.counted_ms - silence_ms))
        assert fall.counted_ms == fall.total_ms
        assert off_ms[-1] <= within_ms, [(part.name, part.counted_ms) for part in fall.parts]
        assert abs(ended_ms + offset_ms - fall.from_ms) <= within_ms, "the clock of the page is that of the sound"
    assert sorted(off_ms)[1] <= WITHIN_MS, off_ms
    assert len(bytes(call.recording.waveform.caller)) == -(-len(caller) * PEAKS_PER_S // 8000)


def _read(call_sid: str) -> tuple[Call, page.Told]:
    from calls.models import Call as Row

    call = Row.objects.select_related("recording__waveform", "agent_version").get(call_sid=call_sid)
    return call, page.told(call)
