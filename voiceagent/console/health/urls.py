"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.health import views

urlpatterns = [
    path("health/", views.health, name="health"),
]
