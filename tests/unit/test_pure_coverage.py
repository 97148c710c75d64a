"""Every branch of the pure packages is taken by their own tests.

Measured by a run of these tests alone, in a process of its own, without those that try very many calls: what only chance
comes upon has no test that says what should happen there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = ("core", "codecs", "replay")


@pytest.mark.timeout(400)
def test_every_branch_of_the_pure_packages_is_taken_by_their_own_tests(tmp_path: Path) -> None:
    report = tmp_path / "coverage.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("-m", "not long and not search", "-k", "not actor"),
            *("--cov-branch", f"--cov-report=json:{report}", *(f"--cov=calls.{name}" for name in PURE)),
            *(f"tests/unit/{name}" for name in PURE),
        ],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))},
            "COVERAGE_FILE": str(tmp_path / "coverage"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    files = json.loads(report.read_text())["files"]
    written = {str(file.relative_to(ROOT)) for name in PURE for file in (ROOT / "calls" / name).rglob("*.py")}
    assert {*files} == {file for file in written if "/cores/v" not in file}
    missed = {name: file["missing_lines"] + file["missing_branches"] for name, file in files.items()}
    assert {name: places for name, places in missed.items() if places} == {}
    assert sum(file["summary"]["num_branches"] for file in files.values()) > 800
