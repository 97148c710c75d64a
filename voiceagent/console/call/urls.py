"""Addresses of this screen."""

from __future__ import annotations

from typing import Any

from django.urls import path

from voiceagent.console.addresses import CALL
from voiceagent.console.call import travel_urls, views

urlpatterns: list[Any] = [
    path(CALL, views.call, name="call"),
    path(f"{CALL}turns/<int:number>/<str:tab>/", views.panel, name="call-panel"),
    path(f"{CALL}turns/<int:number>/wording", views.wording, name="call-wording"),
    path(f"{CALL}peaks", views.peaks, name="call-peaks"),
    path(f"{CALL}audio.wav", views.audio, name="call-audio"),
    path(f"{CALL}export/<str:what>", views.export, name="call-export"),
    path(f"{CALL}flag", views.flag, name="call-flag"),
    path(f"{CALL}note", views.note, name="call-note"),
    *travel_urls.urlpatterns,
]
