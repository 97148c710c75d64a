"""Archived calls out of the tables as records and files, and back in.

A call that is imported gets the same rows as one that was archived here: turns and totals are made from its entries, not
taken from the file.
"""

from __future__ import annotations

import io
import json
import wave
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from calls import surroundings
from calls.core.events import CallStarted
from calls.core.policy import PolicyError
from calls.core.record import RecordError, payload
from calls.logkeys import checked_sid
from calls.models import AgentVersion, Call, CallEvent
from calls.models.call import NUMBER_LENGTH, VERSION_LENGTH
from calls.replay.log import CallRecord, Line
from calls.services import archive, entries, erasure, timeline
from calls.services.archive import Archived, Source
from calls.services.recordings import RATE_HZ, Stored, picture_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from django.db.models import QuerySet

    from calls.core.policy import AgentProfile
    from calls.replay.callfile import CallFile
    from calls.services.entries import Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class TransferError(ValueError):
    """A call that cannot be read or taken over; the message says why."""


class Found(BaseModel):
    """An invariant that did not hold when the call was watched, from this step on."""

    invariant: str = Field(max_length=40)
    step: int


class Facts(BaseModel):
    """What is known of a call besides its log, as a file has it. Everything else is made from the entries."""

    model_config = ConfigDict(from_attributes=True)

    from_number: str = Field("", max_length=NUMBER_LENGTH)
    to_number: str = Field("", max_length=NUMBER_LENGTH)
    direction: str = Field("", max_length=32)
    account_sid: str = Field("", max_length=64)
    started_at: datetime
    end_reason: str = Field("", max_length=40)
    process: str = Field("", max_length=255)
    carrier_status: str = Field("", max_length=16)
    carrier_duration_s: int | None = Field(None, ge=0, lt=2**31)
    sip_response_code: int | None = Field(None, ge=0, lt=2**15)
    checked: bool = False
    violations: list[Found] = []
    software_version: str = Field("", max_length=VERSION_LENGTH)
    sound_from_ms: int = Field(0, gt=-(10**9), lt=10**9)


def record_of(call_sid: str) -> CallRecord:
    """The archived record of a call. Raises ``TransferError`` where there is none."""
    call = Call.objects.filter(call_sid=call_sid).first()
    if call is None:
        raise TransferError("there is no such call")
    if call.archived_at is None:
        raise TransferError("the call has not been archived yet")
    return CallRecord(
        call_sid=call.call_sid,
        lines=tuple(_lines(call.events.all())),
        layout=call.state_layout,
        entries=call.entry_count,
        facts=Facts.model_validate(call).model_dump(mode="json"),
    )


def events_of(call: Call, first_seq: int = 1, last_seq: int | None = None) -> Iterator[Line]:
    """The events of an archived call without their commands, and whatever cannot be read, in order."""
    rows = call.events.exclude(kind=CallEvent.Kind.COMMAND).filter(seq__gte=first_seq)
    if last_seq is not None:
        rows = rows.filter(seq__lte=last_seq)
    return _lines(rows)


def lines_at(call: Call, seqs: Iterable[int]) -> list[Line]:
    """The entries with these numbers, in order."""
    return list(_lines(call.events.filter(seq__in=list(seqs))))


#: The columns of a line, in the order of its fields. Read as they are: a row of the model for each costs a third of a replay.
_COLUMNS = ("seq", "step", "kind", "type", "at_ms", "at", "mode", "turn", "data", "digest", "error")


def _lines(rows: QuerySet[CallEvent]) -> Iterator[Line]:
    """These entries in order."""
    for seq, step, kind, name, at_ms, at, *rest in rows.order_by("seq").values_list(*_COLUMNS).iterator():
        yield Line(seq, step, kind, name, at_ms, (at - _EPOCH) // _MS, *rest)


def audio_of(call_sid: str) -> bytes:
    """The recording of a call as WAV. Raises ``TransferError`` where there is none, ``OSError`` where its file is gone."""
    call = Call.objects.select_related("recording").get(call_sid=call_sid)
    recording = getattr(call, "recording", None)
    if recording is None:
        raise TransferError("the call has no recording")
    path: Path = surroundings.recordings_dir() / recording.file
    return path.read_bytes()


# --- in ---------------------------------------------------------------------------------------------------------------


def take_over(file: CallFile) -> Archived:
    """Write a file's call into the tables; one that is there already stays as it is. Raises ``TransferError``."""
    record = file.record
    if record.damage:
        raise TransferError(record.damage)
    if not record.lines:
        raise TransferError("the file has no entries")
    try:
        sid = checked_sid(record.call_sid)
        facts = Facts.model_validate(record.facts)
    except ValueError as error:
        raise TransferError(_first_line(error)) from error
    if erasure.is_erased(sid, facts.from_number, facts.started_at):
        raise TransferError("this call was erased here")
    log = [_entry(line) for line in record.lines]
    with transaction.atomic():
        _refuse_another(sid, record.lines)
        stored = _store_audio(sid, file.audio) if file.audio else None
        folded = timeline.with_reason(timeline.fold(log), facts.end_reason or "process_died")
        result = archive.write(sid, Source(_meta(facts, record, log), log), folded, stored)
        if result is Archived.ARCHIVED:
            _write_outer(sid, facts)
    return result


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"the file's {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _refuse_another(sid: str, lines: Sequence[Line]) -> None:
    """A call of this id that is here already must be this very call."""
    call = Call.objects.filter(call_sid=sid).first()
    if call is None:
        return
    if call.archived_at is None:
        raise TransferError("a call of this id is in progress here")
    if list(_lines(call.events.all())) != list(lines):
        raise TransferError("another call of this id is here")


def _entry(line: Line) -> Entry:
    """As the event log would have given it."""
    if line.kind == CallEvent.Kind.BROKEN:
        values = {name: value for name, value in payload(line).items() if name != "data"}
        return entries.Entry(**values, data=line.data)
    fields = {name: str(value).encode() for name, value in payload(line).items() if name != "data"}
    fields["data"] = json.dumps(line.data).encode()
    entry = entries.read_entry(f"{line.seq}-0".encode(), {name.encode(): value for name, value in fields.items()})
    return replace(entry, error=line.error or entry.error)


def _meta(facts: Facts, record: CallRecord, log: Sequence[Entry]) -> dict[str, str]:
    meta = {name: getattr(facts, name) for name in ("from_number", "to_number", "account_sid", "process")}
    meta["agent_version_id"] = _version_of(log)
    meta["software"] = facts.software_version
    meta["sound_from_ms"] = str(facts.sound_from_ms)
    meta["state_layout"] = json.dumps(record.layout)
    meta["violations"] = json.dumps([found.model_dump() for found in facts.violations])
    return meta | ({"checked": "1"} if facts.checked else {})


def _version_of(log: Sequence[Entry]) -> str:
    """The version of an agent here that this call ran with, if it is known here."""
    started = next((entry.value for entry in log if isinstance(entry.value, CallStarted)), None)
    if started is None:
        return ""
    agent = started.agent
    version = AgentVersion.objects.filter(agent__name=agent.name, number=agent.version).first()
    return str(version.pk) if version and _is(version, agent) else ""


def _is(version: AgentVersion, agent: AgentProfile) -> bool:
    """Whether a call with this version has this profile: the same but for the rules that were in force."""
    try:
        profile = version.as_profile()
    except (RecordError, PolicyError):
        return False
    return replace(profile, policy=replace(profile.policy, version=agent.policy.version)) == agent


def _write_outer(sid: str, facts: Facts) -> None:
    """What only the carrier's webhooks tell."""
    names = ("direction", "started_at", "carrier_status", "carrier_duration_s", "sip_response_code")
    Call.objects.filter(call_sid=sid).update(**{name: getattr(facts, name) for name in names})


def _store_audio(sid: str, audio: bytes) -> Stored:
    """Put the recording where recordings are; whole or not at all."""
    try:
        with wave.open(io.BytesIO(audio), "rb") as wav:
            shape, samples = (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()), wav.getnframes()
    except (wave.Error, EOFError) as error:
        raise TransferError(f"the file's recording cannot be read: {error}") from error
    if shape != (2, 2, RATE_HZ):
        raise TransferError("the file's recording is not 16 bit stereo at 8 kHz")
    folder = surroundings.recordings_dir()
    target, part = folder / f"{sid}.wav", folder / f"{sid}.wav.{uuid4().hex}.part"
    try:
        with part.open("wb") as file:
            part.chmod(0o600)
            file.write(audio)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    picture = picture_of(target)
    return Stored(target.name, samples * 1000 // RATE_HZ, len(audio), sha256(audio).hexdigest(), picture)


def archived_since(moment: datetime) -> list[str]:
    """Ids of the calls that ended since then and have a log, the oldest first."""
    calls = Call.objects.filter(ended_at__gte=moment, archived_at__isnull=False, entry_count__gt=0)
    return list(calls.order_by("ended_at", "pk").values_list("call_sid", flat=True))
