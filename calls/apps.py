"""Django's entry to the calls app."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    """Agents and the records of their calls."""

    name = "calls"
    verbose_name = "Phone"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Take part in the erasure of callers, and say where their calls can be read and heard."""
        from calls import callpages as own_pages
        from calls.services.erasure import CallRecords
        from memory import callpages
        from memory.services import subjects

        subjects.register(CallRecords(), quoting=("calls_callevent", "calls_turn", "redis call"))
        callpages.register(own_pages.find)
