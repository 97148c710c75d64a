"""The console's tasks, where Celery looks for them."""

from __future__ import annotations

from voiceagent.console.calls.tasks import drop_exports, export

__all__ = ["drop_exports", "export"]
