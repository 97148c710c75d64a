"""What must happen before Django reads its settings: profile, environment, embedded servers."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from voiceagent.dotenv_file import load_dotenv
from voiceagent.env import EnvError

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDED = "voiceagent.settings.embedded"

# Commands that neither touch the database nor Redis: no reason to wait for servers.
_WITHOUT_SERVERS = frozenset(
    {"help", "version", "--help", "-h", "--version", "startapp", "makemessages", "collectstatic", "state_diagram"}
)


def env_file() -> Path:
    """``.env`` beside ``manage.py``, or the file that ``ENV_FILE`` names."""
    return Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")


def read_env_file() -> None:
    """Read the ``.env`` file; what is set already stays. Raises EnvError."""
    load_dotenv(env_file(), os.environ)


def needs_servers(argv: list[str]) -> bool:
    """Whether a ``manage.py`` command line can need the database or Redis."""
    return len(argv) > 1 and argv[1] not in _WITHOUT_SERVERS and "--help" not in argv


def main(argv: list[str]) -> int:
    """Run one Django command; 0 if it went well. A configuration mistake is printed, not traced."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", EMBEDDED)
    os.environ.setdefault("DATABASE_POOL_SIZE", "0")  # a command needs one connection, and a pool is slow to end
    try:
        with ExitStack() as stack:
            if os.environ["DJANGO_SETTINGS_MODULE"] == EMBEDDED and needs_servers(argv):
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the stack unwinds
                stack.enter_context(_servers())
            from django.core.management import execute_from_command_line  # settings first

            execute_from_command_line(argv)
    except EnvError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _servers() -> ExitStack:
    from voiceagent.embedded.servers import running  # only this profile needs it

    read_env_file()
    stack = ExitStack()
    stack.enter_context(running(os.environ))
    return stack
