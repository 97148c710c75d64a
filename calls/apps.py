"""Django's entry to the calls app."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    """Agents and the records of their calls."""

    name = "calls"
    verbose_name = "Phone"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Take part in the erasure of callers."""
        from calls.services.erasure import CallRecords
        from memory.services.subjects import register

        register(CallRecords())
