"""The embedded servers as one thing: shared by every process of a ``DATA_DIR``, stopped by the last that leaves.

Each user holds a shared lock on one file. Whoever leaves tries to make the lock exclusive: that works only when
nobody else holds it, and then the servers are stopped. The kernel drops the lock of a process that was killed, so a
count can never be wrong; servers that such a process left behind are adopted by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from voiceagent.embedded import state
from voiceagent.embedded.postgres import Postgres
from voiceagent.embedded.profile import is_given, made_data_dir
from voiceagent.embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


_VARIABLES = {Postgres.name: "DATABASE_URL", Valkey.name: "REDIS_URL"}


class Servers:
    """Those embedded servers of a folder that the environment does not replace."""

    def __init__(self, folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._folder = state.ensure_folder(folder)
        self._parts: list[Postgres | Valkey] = []
        if not is_given(environ, "DATABASE_URL"):
            self._parts.append(Postgres(folder, say))
        if not is_given(environ, "REDIS_URL"):
            self._parts.append(Valkey(folder, say))

    @contextlib.contextmanager
    def used(self) -> Iterator[Servers]:
        """Have them running inside the block. Raises ServerError."""
        with (self._folder / "users.lock").open("a") as users:
            with self._starting():
                fcntl.flock(users, fcntl.LOCK_SH)
                try:
                    self._ensure()
                except BaseException:
                    self._leave(users.fileno())
                    raise
            try:
                yield self
            finally:
                with self._starting():
                    self._leave(users.fileno())

    def addresses(self) -> dict[str, str]:
        """The addresses of the servers that are ours to run, by the variable that names them."""
        ours = {_VARIABLES[part.name] for part in self._parts}
        return {name: value for name, value in state.addresses(self._folder).items() if name in ours}

    def recover(self) -> list[str]:
        """Start again what has died; the names of those."""
        dead = [part for part in self._parts if part.find() is None]
        if dead:
            with self._starting():
                self._ensure()
        return [part.name for part in dead]

    def _starting(self) -> contextlib.AbstractContextManager[None]:
        return state.locked(self._folder / "start.lock")

    def _ensure(self) -> None:
        self._all(lambda part: part.ensure())

    def _leave(self, users: int) -> None:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(users, fcntl.LOCK_UN)
        else:
            self._all(lambda part: part.stop())

    def _all(self, action: Callable[[Postgres | Valkey], None]) -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(action, part) for part in self._parts]:
                done.result()


@contextlib.contextmanager
def running(environ: Mapping[str, str], say: Callable[[str], None] | None = None) -> Iterator[Servers]:
    """The servers of ``DATA_DIR``, running inside the block. Raises ServerError, EnvError."""
    with Servers(made_data_dir(environ), environ, say or _to_stderr).used() as servers:
        yield servers


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
