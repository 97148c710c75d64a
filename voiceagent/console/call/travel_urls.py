"""Addresses of time travel, below a call's own."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.call import travel

urlpatterns = [
    path("calls/<slug:call_sid>/travel/", travel.travel, name="travel"),
    path("calls/<slug:call_sid>/travel/steps/<int:entries>", travel.steps, name="travel-steps"),
    path("calls/<slug:call_sid>/travel/raw/", travel.raw, name="travel-raw"),
    path("calls/<slug:call_sid>/travel/replay/", travel.verdict, name="travel-replay"),
]
