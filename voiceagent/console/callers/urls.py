"""Addresses of this screen."""

from __future__ import annotations

from django.urls import path

from voiceagent.console.callers import actions, erasing, exporting, hearing, probing, views

_CALLER = "callers/<uuid:caller_id>/"
_ENTRY = f"{_CALLER}entries/<uuid:fact_id>/"

urlpatterns = [
    path("callers/", views.callers, name="callers"),
    path("callers/erasures/<uuid:erasure_id>/", erasing.checklist, name="erasure"),
    path(_CALLER, views.caller, name="caller"),
    path(f"{_CALLER}probe/", probing.probe, name="probe"),
    path(f"{_CALLER}add/", actions.add, name="memory_add"),
    path(f"{_CALLER}merge/", actions.merge, name="memory_merge"),
    path(f"{_CALLER}apart/", actions.apart, name="memory_apart"),
    path(f"{_CALLER}keeping/", actions.keeping, name="caller_keeping"),
    path(f"{_CALLER}erase/", erasing.erase, name="caller_erase"),
    path(f"{_CALLER}export/", exporting.export, name="caller_export"),
    path(f"{_CALLER}heard/", hearing.clip, name="caller_clip"),
    *(path(f"{_ENTRY}{name}/", view, name=f"memory_{name}") for name, view in actions.OF_ENTRY.items()),
]
