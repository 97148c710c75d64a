"""Sockets of the console, all behind the session. Each screen brings its own, addressed below ``console/``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from voiceagent.console.urls import SCREENS

sockets: list[Any] = [
    socket for screen in SCREENS for socket in import_module(f"voiceagent.console.{screen}.sockets").sockets
]
