"""Strictness, not features: real services, no default for any secret, HTTPS only."""

from __future__ import annotations

from voiceagent.bootstrap import read_env_file

read_env_file()

from voiceagent.settings.base import *  # noqa: E402, F403 - .env first

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# With this prefix browsers take them from this very host alone: none of its neighbours can plant one.
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken"
SECURE_SSL_REDIRECT = True
# Probes and scrapers talk to the process itself, inside the network, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
}
