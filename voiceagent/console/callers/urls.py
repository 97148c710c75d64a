"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.callers import views

urlpatterns = [
    path("callers/", views.callers, name="callers"),
]
