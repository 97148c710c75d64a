"""The carrier's addresses."""

from __future__ import annotations

from django.urls import path

from calls import views

urlpatterns = [
    path("voice", views.voice, name="twilio-voice"),
    path("status", views.status, name="twilio-status"),
    path("stream-ended", views.stream_ended, name="twilio-stream-ended"),
    path("stream-status", views.stream_status, name="twilio-stream-status"),
    path("recording", views.recording, name="twilio-recording"),
]
