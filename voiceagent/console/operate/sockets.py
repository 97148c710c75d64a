"""Sockets of this screen: addresses below ``/console/``."""

from __future__ import annotations

from typing import Any

from django.urls import re_path

from voiceagent.console.operate.watch import OperateWatch

sockets: list[Any] = [
    re_path(r"^operate/(?P<call_sid>[A-Za-z0-9]{2,64})$", OperateWatch.as_asgi()),
]
