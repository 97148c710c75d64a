"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.addresses import OPERATE
from voiceagent.console.operate import views

urlpatterns = [
    path(f"{OPERATE}{action}", views.view(action), name=f"operate-{action.replace('_', '-')}")
    for action in views.ACTIONS
]
