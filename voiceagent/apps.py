"""The house as a Django application: it has no tables, it brings the system checks, the Celery application and what is counted of its tasks."""

from __future__ import annotations

from django.apps import AppConfig


class VoiceagentConfig(AppConfig):
    """Registers the checks, the Celery application for ``shared_task``, and the metrics of tasks."""

    name = "voiceagent"

    def ready(self) -> None:
        """Import them, which registers them."""
        from voiceagent import celery, checks, taskmetrics  # noqa: F401
