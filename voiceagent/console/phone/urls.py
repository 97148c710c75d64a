"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.phone import views

urlpatterns = [
    path("phone/", views.phone, name="phone"),
    path("phone/begin", views.begin, name="phone-begin"),
    path("phone/callers", views.callers, name="phone-callers"),
    path("phone/speak", views.speak, name="phone-speak"),
    path("phone/interruption", views.interruption, name="phone-interruption"),
]
