"""HTTP addresses of the whole product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from voiceagent import health
from voiceagent.inside import inside

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", inside(health.readyz)),
    path("metrics", inside(health.metrics, token_alone=True)),
    path("twilio/", include("calls.urls")),
    path("", RedirectView.as_view(pattern_name="console:board")),
    path("console/", include("voiceagent.console.urls")),
    path("admin/", admin.site.urls),
    path("calls/", include("calls.timeline_urls")),
]
