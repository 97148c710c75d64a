"""Addresses of the timeline; the project includes them under ``calls/``."""

from __future__ import annotations

from django.urls import path

from calls import timeline_views

app_name = "timeline"
urlpatterns = [
    path("<str:call_sid>/", timeline_views.timeline, name="call"),
    path("<str:call_sid>/audio.wav", timeline_views.audio, name="audio"),
]
