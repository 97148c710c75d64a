"""The web server's process: uvicorn, set up for fifty small messages a second per call.

Reads are never held back, deflating frames of 20 ms is waste, and a line per request says nothing that the metrics
do not say better.
"""

from __future__ import annotations

import os

import uvicorn

from voiceagent.conf import site_conf
from voiceagent.env import Env

MAX_MESSAGE_BYTES = 64 * 1024


def serve() -> None:
    """Serve until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")
    from voiceagent.asgi import application  # reads the settings, and with them .env

    env = Env(os.environ)
    site = site_conf(env)
    env.check()
    uvicorn.run(
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


if __name__ == "__main__":
    serve()
