"""Addresses of time travel, below a call's own."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.addresses import CALL
from voiceagent.console.call import travel

urlpatterns = [
    path(f"{CALL}travel/", travel.travel, name="travel"),
    path(f"{CALL}travel/steps/<int:entries>", travel.steps, name="travel-steps"),
    path(f"{CALL}travel/raw/", travel.raw, name="travel-raw"),
    path(f"{CALL}travel/replay/", travel.verdict, name="travel-replay"),
]
