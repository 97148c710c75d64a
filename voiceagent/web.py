"""The web server's process: uvicorn, set up for fifty small messages a second per call, and for ending none of them early.

Reads are never held back, deflating frames of 20 ms is waste, and a line per request says nothing that the metrics
do not say better.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from voiceagent.conf import CLOSING_S, LAST_WORK_S, site_conf
from voiceagent.env import Env, EnvError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from voiceagent.conf import SiteConf

MAX_MESSAGE_BYTES = 64 * 1024
GATE_POLL_S = 0.02
#: What requests and records get when a second signal has said that nobody wants to wait.
_HURRIED_S = 2


class Server(uvicorn.Server):
    """uvicorn closes every socket as soon as it is told to stop; this one first lets the calls on them finish.

    ``drain`` ends the calls and returns when that is done; the event it is given says that there is no more time.
    First signal: drain, then stop. Second: stop waiting for calls. Third: drop everything.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def main_loop(self) -> None:
        """Serve; signals count from here on, before it there is no call."""
        self._loop = asyncio.get_running_loop()
        await super().main_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal arrived, between any two instructions: what it means is done in the loop."""
        if self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._told_to_stop)

    def _told_to_stop(self) -> None:
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain_and_exit(), name="drain")
        elif not self._hurry.is_set() and not self.should_exit:
            self.config.timeout_graceful_shutdown = _HURRIED_S
            self._hurry.set()
        else:
            self.should_exit = self.force_exit = True

    async def _drain_and_exit(self) -> None:
        try:
            await self._drain(self._hurry)
        finally:
            self.should_exit = True


def serve(gate: Path | None = None) -> None:
    """Serve until told to stop. ``gate`` is a file to wait for: what takes seconds to load loads meanwhile."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")
    from voiceagent.asgi import application  # reads the settings, and with them .env

    from calls import runtime  # isort: skip - models can only be imported once Django is set up

    env = Env(os.environ)
    site = site_conf(env)
    env.check()
    while gate is not None and not gate.exists():
        time.sleep(GATE_POLL_S)
    config = server_config(application, site)
    try:
        Server(config, lambda hurry: runtime.drain_current(site.drain_s, CLOSING_S, hurry)).run()
    finally:
        _close_pools()


def server_config(application: Any, site: SiteConf) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        application,
        host=site.bind_host,
        port=site.port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        access_log=False,
        server_header=False,
        proxy_headers=True,  # what these say of client and scheme is believed, and of nobody else
        forwarded_allow_ips=",".join(site.trusted_proxies),
        log_config=None,
        timeout_graceful_shutdown=LAST_WORK_S,
    )


def _close_pools() -> None:
    """Give the database its connections back: threads of a pool that is left to the interpreter hold up its end."""
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()


if __name__ == "__main__":
    try:
        serve(*map(Path, sys.argv[1:2]))
    except EnvError as error:
        sys.exit(str(error))
