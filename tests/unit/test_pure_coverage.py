"""Every branch of the pure packages is taken by their own tests.

Measured by a run of these tests alone, in a process of its own. With workers they run only there (``tests.schedule``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import pure

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
def test_every_branch_of_the_pure_packages_is_taken_by_their_own_tests(tmp_path: Path) -> None:
    report = tmp_path / "coverage.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("-p", pure.__name__, *pure.FOLDERS),
            *("--cov-branch", f"--cov-report=json:{report}", *(f"--cov=calls.{name}" for name in pure.PACKAGES)),
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
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    files = json.loads(report.read_text())["files"]
    written = {str(file.relative_to(ROOT)) for name in pure.PACKAGES for file in (ROOT / "calls" / name).rglob("*.py")}
    assert {*files} == {file for file in written if "/cores/v" not in file}
    missed = {name: file["missing_lines"] + file["missing_branches"] for name, file in files.items()}
    assert {name: places for name, places in missed.items() if places} == {}
    assert sum(file["summary"]["num_branches"] for file in files.values()) > 800
