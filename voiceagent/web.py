"""The web server's process: uvicorn, set up for fifty small messages a second per call.

Reads are never held back, deflating frames of 20 ms is waste, and a line per request says nothing that the metrics
do not say better.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import uvicorn
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from voiceagent.conf import site_conf
from voiceagent.env import Env

MAX_MESSAGE_BYTES = 64 * 1024


GATE_POLL_S = 0.02


def serve(gate: Path | None = None) -> None:
    """Serve until told to stop. ``gate`` is a file to wait for: what takes seconds to load loads meanwhile."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")
    from voiceagent.asgi import application  # reads the settings, and with them .env

    env = Env(os.environ)
    site = site_conf(env)
    env.check()
    while gate is not None and not gate.exists():
        time.sleep(GATE_POLL_S)
    config = uvicorn.Config(
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
        log_config=None,
        timeout_graceful_shutdown=site.shutdown_s,
    )
    try:
        uvicorn.Server(config).run()
    finally:
        _close_pools()


def _close_pools() -> None:
    """Give the database its connections back: threads of a pool that is left to the interpreter hold up its end."""
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper):
            connection.close_pool()


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:2]))
