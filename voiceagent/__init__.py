"""The composition root: settings, wiring, entry points, observability. Nothing else imports it."""

from __future__ import annotations

from voiceagent.celery import app as celery_app

__all__ = ["celery_app"]
