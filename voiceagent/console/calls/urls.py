"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.calls import views

urlpatterns = [
    path("calls/", views.calls, name="calls"),
    path("calls/beside/facets", views.beside, {"part": "facets"}, name="calls-facets"),
    path("calls/beside/histogram", views.beside, {"part": "histogram"}, name="calls-histogram"),
    path("calls/export", views.export, name="calls-export"),
    path("calls/exports/", views.export_list, name="calls-exports"),
    path("calls/exports/<uuid:job_id>", views.export_file, name="calls-export-file"),
    path("calls/flag", views.flag, name="calls-flag"),
    path("calls/views", views.save_view, name="calls-save-view"),
    path("calls/views/<int:view_id>/drop", views.drop_view, name="calls-drop-view"),
]
