"""Django's entry to the memory app."""

from __future__ import annotations

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """What is remembered about callers."""

    name = "memory"
    default_auto_field = "django.db.models.BigAutoField"
