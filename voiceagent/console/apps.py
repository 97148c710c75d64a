"""The console as a Django application."""

from __future__ import annotations

from django.apps import AppConfig

AUDIT_STAYS = (
    "the console's audit trail: who did what and why, with ids of callers, facts and calls that lead nowhere any more"
)


class ConsoleConfig(AppConfig):
    """Operators' rights, audit trail, saved views, notes and flags."""

    name = "voiceagent.console"
    label = "console"
    verbose_name = "console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """The audit trail is added to only: an erasure leaves it, and says so."""
        from memory.services import subjects

        subjects.stays("console_auditentry", AUDIT_STAYS)
