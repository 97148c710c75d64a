"""Files under ``DATA_DIR`` by which processes find one another: generated secrets, ports, addresses.

Everything is written whole and moved into place, readable by its owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets as random
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECRETS = "secrets.json"
_PORTS = "ports.json"
DATABASE = "voiceagent"
ROLE = "voiceagent"


def ensure_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, if it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if there is none or it is not readable as one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file at once, mode 0600: a reader sees the old one or the new one."""
    ensure_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's exclusive lock; it ends with the process, however that ends."""
    ensure_folder(path.parent)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def secrets(data_dir: Path) -> dict[str, str]:
    """The generated secrets of this folder, made where missing and kept for good."""
    path = data_dir / _SECRETS
    with locked(data_dir / "state.lock"):
        known = read_json(path)
        missing = {name: make() for name, make in _MAKERS.items() if name not in known}
        if missing:
            write_json(path, known | missing)
    return known | missing


_MAKERS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: random.token_urlsafe(50),
    "CALLER_HASH_KEY": lambda: random.token_urlsafe(32),
    "MEMORY_KEY": lambda: random.token_urlsafe(32),
    "TWILIO_ACCOUNT_SID": lambda: "AC" + random.token_hex(16),
    "TWILIO_AUTH_TOKEN": lambda: random.token_hex(16),
    "CARTESIA_API_KEY": lambda: "sk_local_" + random.token_urlsafe(24),
    "OPENAI_API_KEY": lambda: "sk-local-" + random.token_urlsafe(24),
    "postgres_password": lambda: random.token_urlsafe(24),
    "valkey_password": lambda: random.token_urlsafe(24),
    "operator_password": lambda: random.token_urlsafe(12),
}


def port(data_dir: Path, name: str) -> int:
    """The port that ``name`` has in this folder: chosen once, so that addresses stay the same between starts."""
    with locked(data_dir / "state.lock"):
        ports = read_json(data_dir / _PORTS)
        if not isinstance(ports.get(name), int):
            ports[name] = free_port(set(ports.values()))
            write_json(data_dir / _PORTS, ports)
        return int(ports[name])


def new_port(data_dir: Path, name: str) -> int:
    """Choose another port for ``name``, since something else has taken the old one."""
    with locked(data_dir / "state.lock"):
        ports = read_json(data_dir / _PORTS)
        ports[name] = free_port(set(ports.values()))
        write_json(data_dir / _PORTS, ports)
        return int(ports[name])


def sandbox_port(data_dir: Path) -> int:
    """Where the vendors' stand-ins listen."""
    return port(data_dir, "sandbox")


def addresses(data_dir: Path) -> dict[str, str]:
    """``DATABASE_URL`` and ``REDIS_URL`` of the embedded servers, whether they run or not."""
    known = secrets(data_dir)
    postgres, valkey = port(data_dir, "postgres"), port(data_dir, "valkey")
    return {
        "DATABASE_URL": f"postgresql://{ROLE}:{known['postgres_password']}@127.0.0.1:{postgres}/{DATABASE}",
        "REDIS_URL": f"redis://:{known['valkey_password']}@127.0.0.1:{valkey}/0",
    }


def free_port(but: set[int] | None = None) -> int:
    """A loopback port that nobody listens on now."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            found = int(probe.getsockname()[1])
        if found not in (but or set()):
            return found


def is_listening(port_number: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port_number)) == 0
