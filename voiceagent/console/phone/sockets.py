"""Sockets of this screen: addresses below ``/console/``."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from voiceagent.console.phone.listen import Listen
from voiceagent.console.phone.speak import Speak
from voiceagent.console.phone.stream import TestStream
from voiceagent.console.phone.watch import TestWatch

_SID = r"(?P<call_sid>[A-Za-z0-9]{2,64})"

sockets: list[Any] = [
    path("phone/stream", TestStream.as_asgi()),
    re_path(rf"^listen/{_SID}$", Listen.as_asgi()),
    re_path(rf"^speak/{_SID}$", Speak.as_asgi()),
    re_path(rf"^phone/watch/{_SID}$", TestWatch.as_asgi()),
]
