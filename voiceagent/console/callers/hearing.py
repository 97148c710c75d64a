"""The few seconds of a recording in which an entry was said."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse

from calls import surroundings
from calls.models import Recording
from calls.services import recordings
from voiceagent.console import audit
from voiceagent.console.callers.caller import of_caller

if TYPE_CHECKING:
    from pathlib import Path

    from django.http import HttpRequest

    from memory.people import Person

CLIP_MS = 5_000
#: Somebody begins to speak a little before they are heard to.
_BEFORE_MS = 200


@of_caller("console.hear_recording", "hear recording")
def clip(request: HttpRequest, person: Person) -> HttpResponse:
    """Five seconds as a WAV, from ``?at`` (ms in the recording) of ``?call``, which must be this caller's."""
    call_sid, at = request.GET.get("call", "")[:64], request.GET.get("at", "")
    recording = Recording.objects.filter(call__call_sid=call_sid, call__caller_key=person.key_hash).first()
    path = recordings.stored_path(surroundings.recordings_dir(), recording.file) if recording else None
    if path is None or not (at.isascii() and at.isdigit() and len(at) < 10):
        raise Http404("no recording of this caller, or its file is gone")
    audit.record(request, "recording.played", call_sid=call_sid, entry=str(person.id))
    return HttpResponse(cut(path, max(int(at) - _BEFORE_MS, 0), CLIP_MS), content_type="audio/wav")


def cut(path: Path, start_ms: int, length_ms: int) -> bytes:
    """A part of a WAV as a WAV of its own; shorter, or without sound, where the recording ends before."""
    held = io.BytesIO()
    with wave.open(str(path), "rb") as source, wave.open(held, "wb") as target:
        target.setparams(source.getparams())
        rate = source.getframerate()
        source.setpos(min(start_ms * rate // 1000, source.getnframes()))
        target.writeframes(source.readframes(length_ms * rate // 1000))
    return held.getvalue()
