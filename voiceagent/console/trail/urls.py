"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.trail import views

urlpatterns = [
    path("audit/", views.trail, name="trail"),
    path("audit/export/", views.export, name="trail-export"),
]
