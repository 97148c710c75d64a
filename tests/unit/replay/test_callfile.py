"""A call's file: the same bytes for the same call, read back as it was, and every damage told."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.replay import callfile
from calls.replay.callfile import CallFileError, read, written
from calls.replay.log import steps_of
from tests.unit.replay.records import a_booking, with_line

CALL = replace(a_booking(), facts={"from_number": "+15551234567", "violations": []})
PLAIN = written(CALL, packed=False)
LINES = PLAIN.splitlines(keepends=True)
AUDIO = bytes(range(256)) * 500


def test_characters_beyond_the_first_plane_are_text() -> None:
    call = with_line(CALL, 5, data={**CALL.lines[5].data, "text": "😀"})
    raw = written(call, packed=False)
    assert read(raw).record == call
    escaped = raw.decode().replace("😀", "\\ud83d\\ude00").encode()
    assert read(escaped).record.lines == call.lines


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("audio", [b"", AUDIO])
def test_a_file_holds_the_call(packed: bool, audio: bytes) -> None:
    raw = written(CALL, audio, packed=packed)
    file = read(raw)
    assert file.record == CALL
    assert file.audio == audio
    assert raw == written(file.record, file.audio, packed=packed)
    assert raw.startswith(b"\x1f\x8b") is packed


def test_what_is_wrong_with_an_entry_is_kept() -> None:
    call = with_line(CALL, 5, kind="broken", data={"raw": "\ufffd"}, error="no JSON")
    assert read(written(call)).record == call


def test_the_lines_are_json_with_a_count_and_a_sum_at_the_end() -> None:
    values = [json.loads(line) for line in LINES]
    assert values[0]["format"] == "voiceagent.call"
    assert (values[0]["version"], values[0]["entries"]) == (1, len(CALL.lines))
    assert [value["seq"] for value in values[1:-1]] == list(range(1, len(CALL.lines) + 1))
    assert values[-1]["end"]["lines"] == len(LINES) - 1
    assert all(value for line in values[1:-1] for name, value in line.items() if name in ("digest", "error"))


def test_a_record_of_unknown_length_counts_its_lines() -> None:
    assert read(written(replace(CALL, entries=None))).record.entries == len(CALL.lines)


def header(**changes: Any) -> bytes:
    return json.dumps({**json.loads(LINES[0]), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not a call's file"),
        (b"\x1f\x8b", "not a call's file"),
        (b"not JSON", "not a call's file"),
        (b"[" * 100_000, "not a call's file"),
        (b"[1]", "not a call's file"),
        (b'{"format":"else"}', "not a call's file"),
        (header(version=2), "version 2; this release reads version 1"),
        (header(layout=[]), "no layout"),
        (header(facts=None), "no facts"),
        (header(call_sid=7), "no call_sid"),
        (header(entries="7"), "no entries"),
    ],
)
def test_what_is_no_file_of_ours_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(CallFileError, match=why):
        read(raw)


AN_ENTRY = json.loads(LINES[10])


@pytest.mark.parametrize(
    ("raw", "entries", "why"),
    [
        (b"".join(LINES[:-1]), len(CALL.lines), "ends after line"),
        (b"".join(LINES[:40]), 39, "ends after line 40"),
        (b"".join(LINES[:40]) + LINES[40][:20], 39, "line 41 of the file cannot be read"),
        (b"".join([*LINES[:40], b"{}\n", *LINES[40:]]), 39, "line 41 .* its data is no object"),
        (b"".join([*LINES[:40], b"[]\n", *LINES[40:]]), 39, "line 41"),
        (b"".join([*LINES[:40], b'"end"\n', *LINES[40:]]), 39, "line 41"),
        (b"".join([*LINES[:40], b"[" * 100_000 + b"\n"]), 39, "line 41"),
        (b"".join([*LINES[:40], b'{"audio":"?"}\n', *LINES[40:]]), 39, "line 41"),
        (b"".join([*LINES[:40], json.dumps({**AN_ENTRY, "seq": "x"}).encode(), b"\n"]), 39, "expected int"),
        (b"".join([*LINES[:40], json.dumps({**AN_ENTRY, "more": 1}).encode(), b"\n"]), 39, "unknown field 'more'"),
        (b"".join([*LINES[:40], b'{"data":{"text":"\\ud83d"}}\n']), 39, "line 41 .* surrogates"),
        (b"".join([*LINES[:40], *LINES[41:]]), len(CALL.lines) - 1, "was changed"),
        (PLAIN + LINES[40], len(CALL.lines), "something after the file's last line"),
        (gzip.compress(PLAIN)[:3000], None, "cannot be read|ends after"),
        (gzip.compress(PLAIN)[:-4], len(CALL.lines), ""),
    ],
)
def test_a_damaged_file_is_read_up_to_its_damage(raw: bytes, entries: int | None, why: str) -> None:
    record = read(raw).record
    if entries is not None:
        assert len(record.lines) == entries
    assert record.lines == tuple(line for line in CALL.lines if line in record.lines)
    if why:
        damage = steps_of(record)[1]
        assert damage is not None
        with pytest.raises(AssertionError, match=why):
            raise AssertionError(record.damage)


def test_a_packed_file_with_a_flipped_bit_is_damaged() -> None:
    raw = bytearray(gzip.compress(PLAIN, mtime=0))
    raw[-6] ^= 1  # in the sum that gzip keeps itself
    assert "cannot be unpacked" in read(bytes(raw)).record.damage


@given(st.data())
def test_no_damage_is_taken_for_a_call(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([PLAIN, gzip.compress(PLAIN, mtime=0)])))
    place = data.draw(st.integers(10, len(raw) - 1))
    if data.draw(st.booleans()):
        del raw[place:]
    else:
        raw[place] ^= data.draw(st.integers(1, 255))
    try:
        record = read(bytes(raw)).record
    except CallFileError:
        return
    assert record == CALL or steps_of(record)[1] is not None


def test_a_file_that_unpacks_to_more_than_memory_should_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callfile, "MOST_BYTES", 1_000_000)
    with pytest.raises(CallFileError, match="unpacks to more than"):
        read(gzip.compress(b" " * 2_000_000))
