"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.calls import views

urlpatterns = [
    path("calls/", views.calls, name="calls"),
]
