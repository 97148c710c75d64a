"""Speak the bundled conversation anew: ``python -m voiceagent.sandbox.call.record`` after a change of its text."""

from __future__ import annotations

import json

from voiceagent.sandbox import sound
from voiceagent.sandbox.call.lines import AUDIO, speak


def main() -> None:
    """Write one WAV file per line of ``conversation.json``."""
    described = json.loads((AUDIO / "conversation.json").read_text(encoding="utf-8"))
    for item in described["lines"]:
        samples = sound.mulaw_decode(speak(item["text"]))
        (AUDIO / item["file"]).write_bytes(sound.wav_bytes(samples, sound.PHONE_RATE))


if __name__ == "__main__":
    main()
