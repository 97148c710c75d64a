"""The recorded phrases: µ-law that needs no vendor, no database and no file once a call has begun.

Shipped ones lie in ``calls/phrases/<language>/<key>.ulaw``, one for each entry of ``calls.core.phrases``. Those of agents
are rows (``calls.models.phrase``), known by a digest of voice, language and text. A process keeps the ones it used lately;
a call holds its own for as long as it lasts. What a process cannot get in time is taken out of the call's profile before
the call begins (``hold``), so that what the history says was heard is what was heard.
"""

from __future__ import annotations

import io
import threading
import wave
from collections import OrderedDict
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from calls.codecs import mulaw
from calls.core.phrases import PHRASES, phrase_language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.core.policy import AgentProfile

FOLDER = Path(__file__).parent / "phrases"
RATE_HZ = 8000
#: Recordings that are kept without a call that holds them: some 20 MB.
MOST_KEPT = 500


class PhraseMissing(LookupError):
    """A phrase without its recording; the message says which."""


class Held:
    """A recording in memory. Whoever has one keeps it there."""

    __slots__ = ("audio", "__weakref__")

    def __init__(self, audio: bytes) -> None:
        self.audio = audio


_lock = threading.Lock()
_known: WeakValueDictionary[str, Held] = WeakValueDictionary()
_lately: OrderedDict[str, Held] = OrderedDict()


def recording_digest(voice: str, language: str, text: str) -> str:
    """What a recording of an agent's own is known by: other words, another voice or language are another one."""
    return sha256("\0".join((voice, language, text)).encode()).hexdigest()


def own_recordings(agent: AgentProfile) -> dict[str, str]:
    """The digests of an agent's own recordings by the phrase's key."""
    return {key: recording_digest(agent.voice, agent.language, text) for key, text in agent.phrases if text}


def phrase_audio(agent: AgentProfile, key: str) -> bytes:
    """Raw µ-law 8 kHz of a phrase as this agent says it: its own, where its profile names one. Raises ``PhraseMissing``."""
    digest = own_recordings(agent).get(key)
    if digest is None:
        return shipped_audio(agent.language, key)
    held = _known.get(digest)
    if held is None:
        raise PhraseMissing(f"the agent's own recording of {key!r} is not in memory: its call did not hold it")
    return held.audio


@cache
def shipped_audio(language: str, key: str) -> bytes:
    """Raw µ-law 8 kHz of a phrase in the language that serves ``language``. Raises ``PhraseMissing``."""
    path = FOLDER / phrase_language(language) / f"{key}.ulaw"
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhraseMissing(f"no recording of the phrase {key!r}: {path.name} cannot be read ({error})") from error


def load_all() -> int:
    """Read every shipped phrase, so that a missing one is found at start. Returns their size in bytes."""
    return sum(len(shipped_audio(language, key)) for language, keys in PHRASES.items() for key in keys)


def at_hand(digest: str) -> bytes | None:
    """A recording of an agent's own, if this process has it."""
    held = _known.get(digest)
    return held.audio if held is not None else None


def missing(agent: AgentProfile) -> list[str]:
    """The digests of the agent's own recordings that this process does not have."""
    return [digest for digest in own_recordings(agent).values() if digest not in _known]


def keep(recordings: Mapping[str, bytes]) -> None:
    """Have these recordings at hand, by digest; the ones that were not used for longest go. From any thread."""
    with _lock:
        for digest, audio in recordings.items():
            _lately[digest] = _known.setdefault(digest, Held(audio))
            _lately.move_to_end(digest)
        while len(_lately) > MOST_KEPT:
            _lately.popitem(last=False)


def hold(agent: AgentProfile) -> tuple[AgentProfile, tuple[Held, ...]]:
    """The profile with those of its own phrases that are at hand, and what keeps them so while it is referenced."""
    held: list[Held] = []
    phrases: list[tuple[str, str]] = []
    digests = own_recordings(agent)
    with _lock:
        for key, text in agent.phrases:
            found = _known.get(digests.get(key, ""))
            if found is not None:
                held.append(found)
                phrases.append((key, text))
                _lately[digests[key]] = found
                _lately.move_to_end(digests[key])
    return replace(agent, phrases=tuple(phrases)), tuple(held)


def wav(audio: bytes) -> bytes:
    """µ-law as a WAV file of 16-bit samples, which every player takes."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(mulaw.decode(audio))
    return buffer.getvalue()
