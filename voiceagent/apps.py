"""The house as a Django application: it has no tables, it brings the system checks and the Celery application."""

from __future__ import annotations

from django.apps import AppConfig


class VoiceagentConfig(AppConfig):
    """Registers the checks, and the Celery application for ``shared_task``."""

    name = "voiceagent"

    def ready(self) -> None:
        """Import both, which registers them."""
        from voiceagent import celery, checks  # noqa: F401
