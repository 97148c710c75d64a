"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.agents import views

urlpatterns = [
    path("agents/", views.agents, name="agents"),
]
