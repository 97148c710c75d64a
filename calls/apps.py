"""Django's entry to the calls app."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    """Agents and the records of their calls."""

    name = "calls"
    verbose_name = "Phone"
    default_auto_field = "django.db.models.BigAutoField"
