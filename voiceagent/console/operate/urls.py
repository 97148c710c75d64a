"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.operate import views

urlpatterns = [
    path(f"operate/<slug:call_sid>/{action}", views.view(action), name=f"operate-{action.replace('_', '-')}")
    for action in views.ACTIONS
]
