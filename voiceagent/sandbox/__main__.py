"""``python -m voiceagent.sandbox``: run the stand-in server until it is told to stop."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from voiceagent.sandbox.script import LlmSettings, Settings, TtsSettings
from voiceagent.sandbox.server import build_app

if TYPE_CHECKING:
    from voiceagent.sandbox.engines.base import Engines


def engines_named(name: str) -> tuple[Engines, Settings]:
    """The engines and the settings that suit them. Heavy imports happen only for the local ones."""
    if name == "local":
        from voiceagent.sandbox.engines.local import LocalEngines

        # The real voice takes its own time; the model answers about as fast as a small hosted one.
        return LocalEngines(), Settings(
            tts=TtsSettings(first_byte_ms=0), llm=LlmSettings(first_token_ms=120, inter_token_ms=8)
        )
    from voiceagent.sandbox.engines.scripted import ScriptedEngines

    return ScriptedEngines(), Settings()


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m voiceagent.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data-dir", type=Path, default=Path("var"), help="kept for what the stand-in writes")
    parser.add_argument("--engines", choices=("local", "scripted"), default="local")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    engines, defaults = engines_named(options.engines)
    app = build_app(engines, defaults)
    import uvloop

    web.run_app(
        app,
        host=options.host,
        port=options.port,
        access_log=None,
        print=None,
        handler_cancellation=True,
        shutdown_timeout=2.0,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
