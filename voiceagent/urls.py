"""HTTP addresses of the whole product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from voiceagent import health, login_views
from voiceagent.console.addresses import CALL
from voiceagent.inside import inside

handler404 = "voiceagent.console.access.not_found"

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", inside(health.readyz)),
    path("metrics", inside(health.metrics, token_alone=True)),
    path("twilio/", include("calls.urls")),
    path("", RedirectView.as_view(pattern_name="console:board")),
    path("console/", include("voiceagent.console.urls")),
    path("login/", login_views.login, name="login"),
    path("login/code/", login_views.second_factor, name="second-factor"),
    path("login/setup/", login_views.setup, name="second-factor-setup"),
    path("logout/", login_views.logout, name="logout"),
    path("admin/login/", login_views.admin_login),  # before the admin's own, whose name it has
    path("admin/", admin.site.urls),
    # Where calls were shown before there was a console.
    path(CALL, RedirectView.as_view(pattern_name="console:call", query_string=True)),
    path(f"{CALL}audio.wav", RedirectView.as_view(pattern_name="console:call-audio")),
]
