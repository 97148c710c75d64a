"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.board import views

urlpatterns = [
    path("", views.board, name="board"),
    path("live/empty/", views.empty, name="board-empty"),
]
