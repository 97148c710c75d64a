"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.phone import views

urlpatterns = [
    path("phone/", views.phone, name="phone"),
]
