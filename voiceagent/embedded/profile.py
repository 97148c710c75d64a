"""What the embedded profile puts into the environment where the user said nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from voiceagent.bootstrap import BASE_DIR
from voiceagent.conf import DEFAULT_PORT
from voiceagent.embedded import state
from voiceagent.env import EnvError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

#: Per vendor: the variable that holds its key, the one that holds its address, and the path behind the stand-in's.
VENDORS = (
    ("CARTESIA_API_KEY", "CARTESIA_BASE_URL", ""),
    ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    ("TWILIO_AUTH_TOKEN", "TWILIO_API_BASE_URL", ""),
)
_GENERATED = (
    "SECRET_KEY",
    "CALLER_HASH_KEY",
    "MEMORY_KEY",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "CARTESIA_API_KEY",
    "OPENAI_API_KEY",
)
#: Somebody sits in front of it: lines to be read, and a Ctrl-C that does not take half a minute.
_COMFORTS = {"LOG_FORMAT": "console", "DRAIN_SECONDS": "5", "ENVIRONMENT": "local", "TWO_FACTORS": "off"}
#: Where worker and scheduler are scraped: a free port each, so that several products run beside each other.
_METRICS_PORTS = {"WORKER_METRICS_PORT": "worker_metrics", "SCHEDULER_METRICS_PORT": "scheduler_metrics"}
_TWILIO = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN")


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where everything that must survive a restart lies: ``DATA_DIR``, or ``var`` beside ``manage.py``."""
    named = environ.get("DATA_DIR", "").strip()
    return Path(named).expanduser().absolute() if named else BASE_DIR / "var"


def made_data_dir(environ: Mapping[str, str]) -> Path:
    """The same, made if it is not there. Raises EnvError where that cannot be done, or nothing can be written."""
    try:
        folder = state.ensure_folder(data_dir(environ))
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:  # the latter: the home of somebody who is not there
        named = environ.get("DATA_DIR") or str(BASE_DIR / "var")
        cause = error.strerror if isinstance(error, OSError) else error
        raise EnvError(
            [f"DATA_DIR must be a folder that can be made and written to, not {named!r}: {cause}"]
        ) from error


def needs_sandbox(environ: Mapping[str, str]) -> list[str]:
    """The key variables of vendors that the stand-ins serve: no key, and no address of the user's own."""
    return [key for key, url, _ in VENDORS if not is_given(environ, key) and not is_given(environ, url)]


def install_defaults(environ: MutableMapping[str, str]) -> None:
    """Fill in secrets, servers' addresses and stand-ins' addresses; what the user set stays. Raises EnvError."""
    folder = made_data_dir(environ)
    environ["DATA_DIR"] = str(folder)
    served = needs_sandbox(environ)
    secrets = state.secrets(folder)
    sandbox = f"http://127.0.0.1:{state.sandbox_port(folder)}"
    for key, url, path in VENDORS:
        if key in served:
            environ[url] = sandbox + path
    # Half of an account is a mistake that the other half, made up, would hide.
    kept = _TWILIO if any(is_given(environ, name) for name in _TWILIO) else ()
    for name in _GENERATED:
        if not is_given(environ, name) and name not in kept:
            environ[name] = secrets[name]
    for name, value in state.addresses(folder).items():
        if not is_given(environ, name):
            environ[name] = value
    if not is_given(environ, "PUBLIC_BASE_URL"):
        environ["PUBLIC_BASE_URL"] = f"http://127.0.0.1:{_port(environ)}"
    for name, of in _METRICS_PORTS.items():
        if not is_given(environ, name):
            environ[name] = str(state.port(folder, of))
    for name, value in _COMFORTS.items():
        if not is_given(environ, name):
            environ[name] = value


def _port(environ: Mapping[str, str]) -> str:
    """The port of an address of our own. One that is no number is refused by its own name, not by the address's."""
    named = environ.get("PORT", "").strip()
    return named if named.isdecimal() and 0 < int(named) < 65536 else str(DEFAULT_PORT)


def is_given(environ: Mapping[str, str], name: str) -> bool:
    """Whether a variable is set, itself or by ``NAME_FILE``; empty is not."""
    return bool(environ.get(name, "").strip() or environ.get(f"{name}_FILE", "").strip())
