"""Renders the recorded phrases with the local voice: ``python -m voiceagent.sandbox.render_phrases``.

Run it when ``calls.core.phrases`` changed; the files are part of the product, so that a call that lost its vendors
still has a voice.
"""

from __future__ import annotations

import asyncio
import sys

from calls.codecs import mulaw
from calls.core.phrases import PHRASES
from calls.phrasebook import FOLDER
from voiceagent.sandbox.engines.local import LocalEngines
from voiceagent.sandbox.script import TtsSettings

RATE_HZ = 8000


async def render() -> None:
    """Write one µ-law file for each phrase."""
    engines = LocalEngines()
    try:
        for language, phrases in PHRASES.items():
            for key, text in phrases.items():
                audio = bytearray()
                async for speech in engines.speak(text, RATE_HZ, 1.0, TtsSettings()):
                    audio += mulaw.from_samples(speech.samples)
                path = FOLDER / language / f"{key}.ulaw"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(audio)
                sys.stdout.write(f"{path.name}: {len(audio) / RATE_HZ:.1f} s\n")
    finally:
        await engines.close()


if __name__ == "__main__":
    asyncio.run(render())
