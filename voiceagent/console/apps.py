"""The console as a Django application."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Operators' rights, audit trail, saved views, notes and flags."""

    name = "voiceagent.console"
    label = "console"
    verbose_name = "console"
    default_auto_field = "django.db.models.BigAutoField"
