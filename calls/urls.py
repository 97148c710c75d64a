"""The carrier's addresses."""

from __future__ import annotations

from django.urls import path

from calls import views

urlpatterns = [
    path("voice", views.voice, name="twilio-voice"),
    path("status", views.status, name="twilio-status"),
    path("stream-ended", views.stream_ended, name="twilio-stream-ended"),
    path("stream-status", views.stream_status, name="twilio-stream-status"),
    path("overflow-ended", views.overflow_ended, name="twilio-overflow-ended"),
    path("phrases/<str:name>.wav", views.phrase, name="twilio-phrase"),
    path("recording", views.recording, name="twilio-recording"),
]
