"""What a text-to-speech request may say, checked as the service checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voiceagent.sandbox.cartesia.wire import TTS_MODELS, TTS_RETIRED, Refusal

RATES = (8000, 16000, 22050, 24000, 44100, 48000)
RAW_ENCODINGS = ("pcm_mulaw", "pcm_alaw", "pcm_s16le", "pcm_f32le")
# Fields that may differ between two messages of one context.
_FREE = frozenset({"transcript", "continue", "flush", "context_id", "duration"})
# A voice that no account has.
UNKNOWN_VOICE = "00000000-0000-0000-0000-000000000000"
_PACES = {"slow": 0.8, "normal": 1.0, "fast": 1.25}


@dataclass(frozen=True, slots=True)
class Generation:
    """The settings of a context: everything but its text."""

    container: str
    encoding: str
    rate: int
    pace: float
    word_timestamps: bool
    phoneme_timestamps: bool
    buffer_ms: float
    locked: dict[str, Any]


def text_of(message: dict[str, Any]) -> str:
    """The transcript. Raises :class:`Refusal` if there is none."""
    transcript = message.get("transcript")
    if not isinstance(transcript, str):
        raise Refusal(400, "transcript is required")
    return transcript


def locked_fields(message: dict[str, Any]) -> dict[str, Any]:
    """The fields that must stay the same within a context."""
    return {name: value for name, value in message.items() if name not in _FREE}


def _check_model(message: dict[str, Any]) -> None:
    model = message.get("model_id")
    if not isinstance(model, str) or not model:
        raise Refusal(400, "model_id is required")
    if TTS_RETIRED.match(model):
        raise Refusal(410, f"{model} has been sunset", "model_sunsetted")
    if not TTS_MODELS.match(model):
        raise Refusal(400, f"The model is not valid: {model}", "model_not_found", "Invalid model")


def _check_voice(message: dict[str, Any]) -> None:
    voice = message.get("voice")
    voice_id = voice.get("id") if isinstance(voice, dict) else voice
    if not isinstance(voice_id, str) or not voice_id:
        raise Refusal(400, "voice is required: an id or an object with an id")
    if voice_id == UNKNOWN_VOICE:
        raise Refusal(404, f"voice not found: {voice_id}")


def _output(message: dict[str, Any], containers: tuple[str, ...]) -> tuple[str, str, int]:
    wanted = message.get("output_format")
    if not isinstance(wanted, dict) or wanted.get("container") not in containers:
        raise Refusal(400, f"output_format.container must be one of {', '.join(containers)}")
    if wanted.get("encoding") not in RAW_ENCODINGS:
        raise Refusal(400, f"output_format.encoding must be one of {', '.join(RAW_ENCODINGS)}")
    if wanted.get("sample_rate") not in RATES:
        raise Refusal(400, "output_format.sample_rate is not supported")
    return wanted["container"], wanted["encoding"], wanted["sample_rate"]


def _number(holder: dict[str, Any], name: str, low: float, high: float, default: float) -> float:
    value = holder.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refusal(400, f"{name} must be between {low:g} and {high:g}")
    return float(value)


def new_generation(message: dict[str, Any], containers: tuple[str, ...] = ("raw",)) -> Generation:
    """The settings of a first request. Raises :class:`Refusal`."""
    _check_model(message)
    _check_voice(message)
    container, encoding, rate = _output(message, containers)
    config = message.get("generation_config")
    config = config if isinstance(config, dict) else {}
    _number(config, "volume", 0.5, 2.0, 1.0)
    pace = _number(config, "speed", 0.6, 1.5, 1.0) * _PACES.get(str(message.get("speed")), 1.0)
    return Generation(
        container=container,
        encoding=encoding,
        rate=rate,
        pace=pace,
        word_timestamps=bool(message.get("add_timestamps")),
        phoneme_timestamps=bool(message.get("add_phoneme_timestamps")),
        buffer_ms=_number(message, "max_buffer_delay_ms", 0, 5000, 3000),
        locked=locked_fields(message),
    )
