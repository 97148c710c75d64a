"""``manage.py replay``, ``call_export``, ``call_import`` and ``call_to_test`` on the real tables."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.forms.models import model_to_dict
from django.urls import reverse
from django.utils import timezone

from calls.core.policy import POLICY_VERSION
from calls.management.commands.replay import moment
from calls.models import AgentVersion, Call, CallEvent, Recording, Turn
from calls.replay.callfile import read, written
from calls.services import transfer
from calls.services.carrier import open_call, refuse_call
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.app.records.conftest import Cast

SID, OTHER = "CA" + "0" * 32, "CA" + "1" * 32
ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: Any) -> tuple[int, str]:
    """Exit code and output of a command."""
    out = io.StringIO()
    try:
        call_command(*map(str, arguments), stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def rows() -> dict[str, list[dict[str, Any]]]:
    """All calls in the tables, without their keys and the time of archiving."""
    found = {
        model.__name__: [model_to_dict(row) for row in model.objects.order_by("pk")]
        for model in (Call, Turn, CallEvent, Recording)
    }
    for row in [row for rows in found.values() for row in rows]:
        for name in ("id", "call", "archived_at", "agent_version", "created_at"):
            row.pop(name, None)
    return found


# --- replay -----------------------------------------------------------------------------------------------------------


def test_an_archived_call_replays(archived: Callable[[Conversation], Call]) -> None:
    talk = booked_table()
    archived(talk)
    code, out = run("replay", SID)
    commands = sum(len(step.commands) for step in talk.steps)
    assert code == 0
    assert out.startswith(f"{SID}: OK, {len(talk.steps)} steps, {commands} commands, ")
    assert " 0 states" not in out
    assert out.strip().endswith(" ms")


def test_many_and_those_since_a_time(archived: Callable[[Conversation], Call]) -> None:
    for sid, hours in ((SID, 1), (OTHER, 5)):
        Call.objects.filter(pk=archived(booked_table(sid)).pk).update(ended_at=timezone.now() - timedelta(hours=hours))
    open_call(call_sid="CA2", from_number="+1", to_number="+2")
    refuse_call(call_sid="CA2", reason="no_agent")
    code, out = run("replay", SID, OTHER)
    assert (code, out.count(": OK, ")) == (0, 2)
    assert out.splitlines()[-1] == "2 calls: 2 OK"
    code, out = run("replay", "--since", "2h")
    assert code == 0
    assert SID in out
    assert OTHER not in out
    assert run("replay", "--since", "1d")[1].splitlines()[-1] == "2 calls: 2 OK"
    assert run("replay", "--since", "1s") == (0, "0 calls: nothing to replay\n")


def test_a_call_that_differs_is_shown(archived: Callable[[Conversation], Call]) -> None:
    archived(booked_table())
    archived(booked_table(OTHER))
    row = CallEvent.objects.get(call__call_sid=SID, type="EndCall")
    row.data["reason"] = "drain"
    row.save()
    code, out = run("replay", OTHER, SID, "nobody")
    assert code == 1
    assert f"{SID}: DIFFERS in step {row.step} " in out
    assert '-  "reason": "drain",' in out
    assert "nobody: there is no such call" in out
    assert out.splitlines()[-1] == "3 calls: 1 OK, 1 not the same, 1 unusable"


def test_a_log_with_a_gap_says_where_and_replays_up_to_it(archived: Callable[[Conversation], Call]) -> None:
    archived(booked_table())
    CallEvent.objects.filter(call__call_sid=SID, seq__in=[100, 101]).delete()
    code, out = run("replay", SID)
    assert code == 2
    assert f"{SID}: DAMAGED at entry 100: entries 100 to 101 are missing. What stands before it replays: " in out


def test_a_log_whose_end_was_lost_says_so(archived: Callable[[Conversation], Call]) -> None:
    total = archived(booked_table()).entry_count
    CallEvent.objects.filter(call__call_sid=SID, seq__gt=total - 3).delete()
    code, out = run("replay", SID)
    assert code == 2
    assert f"DAMAGED at entry {total - 2}: {total} entries were archived, {total - 3} are left" in out


def test_a_record_of_rules_that_are_not_there_says_so(archived: Callable[[Conversation], Call]) -> None:
    archived(booked_table())
    row = CallEvent.objects.get(call__call_sid=SID, type="CallStarted")
    row.data["agent"]["policy"]["version"] = 99
    row.save()
    code, out = run("replay", SID)
    assert code == 2
    assert f"no core of policy version 99; this release has {', '.join(map(str, range(1, POLICY_VERSION + 1)))}" in out


@pytest.mark.django_db
def test_what_cannot_be_replayed_is_bad_input(tmp_path: Path) -> None:
    open_call(call_sid=SID, from_number="+1", to_number="+2")
    bad = tmp_path / "bad.gz"
    bad.write_bytes(b"nothing")
    for arguments, why in (
        ([SID], "has not been archived yet"),
        (["CA77"], "there is no such call"),
        ([bad], "not a call's file"),
        ([tmp_path / "none.gz"], "No such file"),
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--since", "2026-13-01"], "'2026-13-01' is no time"),
        ([], "name calls, files or --since"),
    ):
        code, out = run("replay", *arguments)
        assert code == 2
        assert why in out


def test_times_are_spans_days_or_points() -> None:
    assert abs((timezone.now() - moment("90m")).total_seconds() - 5400) < 5
    day = moment("2026-11-01")
    assert (timezone.localtime(day).hour, timezone.localtime(day).day) == (0, 1)
    assert moment("2026-11-01T12:00:00+01:00").utcoffset() == timedelta(hours=1)
    assert timezone.is_aware(moment("2026-11-01 12:00"))


# --- export and import ------------------------------------------------------------------------------------------------


def test_an_exported_call_is_imported_as_it_was(
    archived: Callable[[Conversation], Call], tmp_path: Path, client: Client, cast: Cast, recordings: Path
) -> None:
    call = archived(booked_table())
    Call.objects.filter(pk=call.pk).update(
        direction="outbound", carrier_status="completed", carrier_duration_s=23, sip_response_code=200, checked=True,
        violations=[{"invariant": "heard_truth", "step": 3}],
    )  # fmt: skip
    before, file = rows(), tmp_path / "a.call.jsonl.gz"
    wav = (recordings / f"{SID}.wav").read_bytes()
    assert run("call_export", SID, "--out", file, "--with-audio") == (
        0, f"{file}: {call.entry_count} entries, {len(wav)} bytes of audio\n",
    )  # fmt: skip
    again = tmp_path / "b.call.jsonl.gz"
    run("call_export", SID, "--out", again, "--with-audio")
    assert again.read_bytes() == file.read_bytes()

    Call.objects.all().delete()
    (recordings / f"{SID}.wav").unlink()
    assert run("call_import", file) == (0, f"{SID}: imported, {call.entry_count} entries\n")

    after = rows()
    for row in (*before["Call"], *after["Call"]):
        del row["carrier_sequence"], row["carrier_status_at"]
    assert after == before
    assert (recordings / f"{SID}.wav").read_bytes() == wav
    assert run("replay", SID)[0] == 0
    client.force_login(cast.alice)
    page = client.get(reverse("console:call", args=[SID])).content.decode()
    assert "Gladly! We are open" in page
    run("call_export", SID, "--out", again, "--with-audio")
    assert again.read_bytes() == file.read_bytes()


def test_the_same_file_again_changes_nothing(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    file = tmp_path / "a.call.jsonl"
    run("call_export", SID, "--out", file)
    assert file.read_bytes().startswith(b'{"call_sid"')
    before = rows()
    assert run("call_import", file, file)[1].count("is here already") == 2
    assert rows() == before
    Call.objects.all().delete()
    assert (
        run("call_import", file, file)[1]
        .splitlines()[0]
        .endswith(f"imported, {before['Call'][0]['entry_count']} entries")
    )
    after = rows()
    for row in (*before["Call"], *after["Call"]):
        del row["has_recording"]
    assert {**after, "Recording": before["Recording"]} == before, "all but the sound, which the file has not"


def test_a_file_alone_replays(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    file = tmp_path / "a.call.jsonl.gz"
    run("call_export", SID, "--out", file)
    Call.objects.all().delete()
    code, out = run("replay", file)
    assert code == 0
    assert out.startswith(f"{SID}: OK, ")
    file.write_bytes(file.read_bytes()[:-400])
    code, out = run("replay", file)
    assert code == 2
    assert "DAMAGED at entry " in out
    done = subprocess.run(
        [sys.executable, "-m", "calls.replay", file], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "DAMAGED at entry " in done.stdout


def test_a_call_with_broken_entries_goes_out_and_in(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    CallEvent.objects.filter(seq=50).update(kind="broken", data={"raw": "?"}, error="no JSON")
    CallEvent.objects.filter(seq=60).update(error="characters that cannot be stored were replaced")
    Call.objects.update(broken_count=1)
    file = tmp_path / "a.call.jsonl.gz"
    run("call_export", SID, "--out", file)
    before = rows()["CallEvent"]
    Call.objects.all().delete()
    assert run("call_import", file)[0] == 0
    assert rows()["CallEvent"] == before
    assert Call.objects.get().broken_count == 1
    assert run("call_import", file)[1] == f"{SID}: is here already, {len(before)} entries\n"


def test_a_call_of_an_agent_that_is_here_belongs_to_it(
    archived: Callable[[Conversation], Call], tmp_path: Path, version: AgentVersion
) -> None:
    profile = version.as_profile()
    talk = Conversation(profile=replace(profile, policy=replace(profile.policy, version=POLICY_VERSION)))
    talk.begin()
    talk.agent_speaks()
    talk.hang_up()
    archived(talk)
    file = tmp_path / "a.call.jsonl.gz"
    run("call_export", SID, "--out", file)
    for changes, expected in (({}, version), ({"greeting": "Yes?"}, None), ({"policy": {"verdict_ms": 0}}, None)):
        Call.objects.all().delete()
        AgentVersion.objects.filter(pk=version.pk).update(profile={**version.profile, **changes})
        assert run("call_import", file)[0] == 0
        assert Call.objects.get().agent_version == expected


def test_a_call_of_an_agent_that_is_not_here_is_imported_without_one(
    archived: Callable[[Conversation], Call], tmp_path: Path
) -> None:
    archived(booked_table())
    file = tmp_path / "a.call.jsonl.gz"
    run("call_export", SID, "--out", file)
    Call.objects.all().delete()
    record = read(file.read_bytes()).record
    started = record.lines[0]
    agent = {**started.data["agent"], "name": "Somebody else"}
    lines = (replace(started, data={**started.data, "agent": agent}), *record.lines[1:])
    file.write_bytes(written(replace(record, lines=lines)))
    assert run("call_import", file)[0] == 0
    assert Call.objects.get().agent_version is None
    Call.objects.all().delete()
    file.write_bytes(written(replace(record, lines=record.lines[1:])))
    assert run("call_import", file)[0] == 0


def test_what_cannot_be_exported_is_told(archived: Callable[[Conversation], Call], recordings: Path) -> None:
    archived(booked_table())
    Recording.objects.all().delete()
    assert run("call_export", SID, "--with-audio") == (2, f"{SID}: the call has no recording")
    assert run("call_export", "CA9") == (2, "CA9: there is no such call")
    code, out = run("call_export", SID, "--out", recordings / "none" / "x.gz")
    assert code == 2
    assert "No such file" in out


def test_what_is_no_good_call_is_not_imported(
    archived: Callable[[Conversation], Call], tmp_path: Path, recordings: Path
) -> None:
    archived(booked_table())
    good = transfer.record_of(SID)
    wav = transfer.audio_of(SID)
    Call.objects.all().delete()
    file = tmp_path / "a.call.jsonl.gz"
    for raw, why in (
        (written(good)[:-300], "cannot be read|ends after"),
        (written(replace(good, lines=(), entries=0)), "the file has no entries"),
        (written(replace(good, call_sid="../x")), "a call id is"),
        (written(replace(good, facts={})), "started_at: Field required"),
        (written(replace(good, facts={**good.facts, "from_number": "1" * 300})), "from_number: String should have"),
        (written(replace(good, facts={**good.facts, "violations": [{"step": 1}]})), "violations.0.invariant"),
        (written(good, b"no sound"), "recording cannot be read"),
        (written(good, wav[:22] + b"\x01\x00" + wav[24:]), "not 16 bit stereo at 8 kHz"),
    ):
        file.write_bytes(raw)
        code, out = run("call_import", file)
        assert code == 2
        with pytest.raises(AssertionError, match=why):
            raise AssertionError(out)
        assert not Call.objects.exists()
    assert [path.name for path in recordings.iterdir() if path.suffix == ".part"] == []


def test_another_call_of_the_same_id_is_left_alone(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    file = tmp_path / "a.call.jsonl.gz"
    run("call_export", SID, "--out", file)
    Call.objects.all().delete()
    open_call(call_sid=SID, from_number="+1", to_number="+2")
    assert run("call_import", file) == (2, f"{file}: a call of this id is in progress here")
    refuse_call(call_sid=SID, reason="no_agent")
    assert run("call_import", file) == (2, f"{file}: another call of this id is here")
    assert not CallEvent.objects.exists()


# --- into a test ------------------------------------------------------------------------------------------------------


def test_a_call_becomes_a_test(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    code, out = run("call_to_test", SID, "--name", "a-booking", "--folder", tmp_path)
    file = tmp_path / "a-booking.call.jsonl.gz"
    assert code == 0
    assert str(file) in out
    found = read(file.read_bytes())
    text = json.dumps([line.data for line in found.record.lines])
    assert "Maria" not in text
    assert SID not in text
    assert found.audio == b""
    assert found.record.facts == {}
    assert run("replay", file)[0] == 0
    assert run("call_to_test", SID, "--name", "a-booking", "--folder", tmp_path)[0] == 2
    assert run("call_to_test", file, "--name", "from-a-file", "--folder", tmp_path)[0] == 0


def test_what_cannot_become_a_test_is_told(archived: Callable[[Conversation], Call], tmp_path: Path) -> None:
    archived(booked_table())
    assert run("call_to_test", SID, "--name", "../x", "--folder", tmp_path) == (2, "a name is made of a-z, 0-9 and -")
    assert "no such call" in run("call_to_test", "CA9", "--name", "x", "--folder", tmp_path)[1]
    CallEvent.objects.filter(type="EndCall").update(data={"type": "EndCall", "reason": "drain"})
    code, out = run("call_to_test", SID, "--name", "x", "--folder", tmp_path)
    assert code == 2
    assert "does not replay as it is" in out
    assert list(tmp_path.glob("*.gz")) == []


def test_a_core_is_frozen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calls.replay import cores

    monkeypatch.setattr(cores, "__path__", [str(tmp_path)])
    code, out = run("freeze_core")
    assert code == 0
    assert f"as version {POLICY_VERSION}" in out
    assert (tmp_path / f"v{POLICY_VERSION}" / "machine.py").is_file()
    assert run("freeze_core")[1] == f"version {POLICY_VERSION} is frozen already"
