"""Addresses of this screen."""

from __future__ import annotations

from typing import Any

from django.urls import path

from voiceagent.console.call import travel_urls, views

urlpatterns: list[Any] = [
    path("calls/<str:call_sid>/", views.call, name="call"),
    path("calls/<str:call_sid>/turns/<int:number>/<str:tab>/", views.panel, name="call-panel"),
    path("calls/<str:call_sid>/turns/<int:number>/wording", views.wording, name="call-wording"),
    path("calls/<str:call_sid>/peaks", views.peaks, name="call-peaks"),
    path("calls/<str:call_sid>/audio.wav", views.audio, name="call-audio"),
    path("calls/<str:call_sid>/export/<str:what>", views.export, name="call-export"),
    path("calls/<str:call_sid>/flag", views.flag, name="call-flag"),
    path("calls/<str:call_sid>/note", views.note, name="call-note"),
    *travel_urls.urlpatterns,
]
