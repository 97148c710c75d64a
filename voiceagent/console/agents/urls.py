"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.agents import views

urlpatterns = [
    path("agents/", views.agents, name="agents"),
    path("agents/new/", views.new, name="agent-new"),
    path("agents/<int:pk>/", views.agent, name="agent"),
    path("agents/<int:pk>/save/", views.save, name="agent-save"),
    path("agents/<int:pk>/versions/", views.versions, name="agent-versions"),
]
