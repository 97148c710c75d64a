"""`.ci/python` on machines whose Pythons are not what they seem."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROKEN_SHIM = "#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n"
TOO_OLD = "#!/bin/sh\nexit 1\n"
GOOD = f'#!/bin/sh\nexec {sys.executable} "$@"\n'


class Machine:
    """A path and a home of our own making."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.bin.mkdir()
        self.home.mkdir()

    def has(self, path: Path, script: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)
        return path

    def find(self, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", ROOT / ".ci" / "python"],
            env={"PATH": str(self.bin), "HOME": str(self.home), **environ},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_python_in_pyenvs_folder_is_found_behind_old_ones_and_broken_shims(machine: Machine) -> None:
    machine.has(machine.bin / "python3", TOO_OLD)
    machine.has(machine.bin / "python3.12", BROKEN_SHIM)
    machine.has(machine.bin / "python3.13", BROKEN_SHIM)
    machine.has(machine.home / ".pyenv/versions/3.12.1/bin/python", GOOD)
    found = machine.find()
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).resolve() == Path(sys.executable).resolve()


def test_the_path_is_enough_when_it_works(machine: Machine) -> None:
    machine.has(machine.bin / "python3.13", GOOD)
    assert machine.find().returncode == 0


def test_a_named_python_is_taken_or_refused_by_name(machine: Machine) -> None:
    machine.has(machine.bin / "python3.13", GOOD)
    mine = machine.has(machine.home / "mine", TOO_OLD)
    refused = machine.find(PYTHON=str(mine))
    assert refused.returncode == 1
    assert f"PYTHON={mine}" in refused.stderr
    assert machine.find(PYTHON=sys.executable).returncode == 0


@pytest.mark.skipif(
    any(os.access(f"/usr/local/bin/python3.{minor}", os.X_OK) for minor in (12, 13, 14))
    or Path("/opt/python").exists(),
    reason="this machine has a Python in a fixed place that the search knows",
)
def test_none_at_all_says_what_to_install(machine: Machine) -> None:
    machine.has(machine.bin / "python3", TOO_OLD)
    nothing = machine.find()
    assert nothing.returncode == 1
    assert "No Python 3.12 or newer was found" in nothing.stderr
    assert "apt install" in nothing.stderr
