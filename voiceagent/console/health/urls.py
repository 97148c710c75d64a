"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.health import views

urlpatterns = [
    path("health/", views.health, name="health"),
    path("health/system/", views.dependencies, name="dependencies"),
    path("health/system/state/", views.state, name="state"),
    path("health/system/drain/", views.drain, name="drain"),
    path("health/system/retry/", views.retry, name="retry"),
    path("health/breakers/<str:name>/<str:act>/", views.breaker, name="breaker"),
]
