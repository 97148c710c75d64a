"""Addresses of the console. Each screen brings its own."""

from __future__ import annotations

from django.urls import include, path

from voiceagent.console import reveal

#: In the order in which addresses are tried: the list of calls has names below it that could be a call's id.
SCREENS = ("board", "calls", "call", "callers", "health", "phone", "operate", "agents", "trail")

app_name = "console"
urlpatterns = [
    path("reveal/", reveal.number, name="reveal"),
    *(path("", include(f"voiceagent.console.{screen}.urls")) for screen in SCREENS),
]
