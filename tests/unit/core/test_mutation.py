"""Mutants of the core: of those that are not equivalent at least nine in ten must fail a test.

Runs in a copy under ``var/mutation`` and keeps its results there: what was interrupted goes on, and only functions that
changed are tried again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / "var" / "mutation"
COPIED = ("calls", "memory", "voiceagent", "tests", "templates", "static", "docs", "manage.py", "pyproject.toml")
LEAST_KILLED = 0.9


@pytest.mark.long
@pytest.mark.timeout(0)
def test_nine_in_ten_mutants_are_killed() -> None:
    for name in COPIED:
        source, target = ROOT / name, WORK / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            WORK.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    mutmut = [sys.executable, "-m", "mutmut"]
    subprocess.run([*mutmut, "run", "--max-children", str(os.cpu_count() or 1)], cwd=WORK, check=True)
    subprocess.run([*mutmut, "export-cicd-stats"], cwd=WORK, check=True)
    counted = json.loads((WORK / "mutants" / "mutmut-cicd-stats.json").read_text())
    killed, survived = counted["killed"] + counted["timeout"], counted["survived"] + counted["no_tests"]
    sys.stdout.write(f"mutants killed: {killed} of {killed + survived}\n")
    assert killed >= LEAST_KILLED * (killed + survived)
