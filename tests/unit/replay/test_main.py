"""``python -m calls.replay``: files alone, no database."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from calls.replay.__main__ import main
from calls.replay.callfile import written
from calls.replay.run import replay
from tests.unit.replay.records import a_booking, place_of, with_line

if TYPE_CHECKING:
    from pathlib import Path

    from calls.replay.log import CallRecord

CALL = a_booking()


def file_of(folder: Path, name: str, call: CallRecord) -> str:
    target = folder / name
    target.write_bytes(written(call))
    return str(target)


def test_exit_codes_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = file_of(tmp_path, "good.gz", CALL)
    other = file_of(tmp_path, "other.gz", with_line(CALL, 0, digest="0" * 16))
    cut = file_of(tmp_path, "cut.gz", replace(CALL, lines=CALL.lines[:50]))
    started = CALL.lines[place_of(CALL, "CallStarted")].data
    policy = {**started["agent"]["policy"], "version": 99}
    unknown = with_line(CALL, 0, data={**started, "agent": {**started["agent"], "policy": policy}})
    newer = file_of(tmp_path, "newer.gz", unknown)
    none = str(tmp_path / "none.gz")

    assert main([good]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{CALL.call_sid}: OK, ")
    assert second == f"  commands sha256 {replay(CALL).commands_sha256}"
    assert main([good, other, cut]) == 1
    assert ": DIFFERS in step 1" in capsys.readouterr().out
    assert main([good, cut]) == 2
    assert ": DAMAGED at entry 51: " in capsys.readouterr().out
    assert main([none, newer]) == 2
    out = capsys.readouterr().out
    assert f"{none}: [Errno 2] No such file" in out
    assert f"{newer}: there is no core of policy version 99" in out
    assert main([]) == 0


def test_it_is_run_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["replay", str(tmp_path / "none.gz")])
    monkeypatch.delitem(sys.modules, "calls.replay.__main__")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("calls.replay", run_name="__main__")
    assert end.value.code == 2
