"""The house as a Django application: it has no tables, it brings the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class VoiceagentConfig(AppConfig):
    """Registers the checks."""

    name = "voiceagent"

    def ready(self) -> None:
        """Import the checks, which registers them."""
        from voiceagent import checks  # noqa: F401
