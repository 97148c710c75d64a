"""``manage.py waveforms``: waveforms of recordings that have none."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from calls.services import waveforms


class Command(BaseCommand):
    """A recording gets its waveform when it is archived; older ones get theirs here, or when their page is opened."""

    help = "Make the waveforms of recordings that have none."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Make them, and say how many."""
        made = [waveforms.make(recording) for recording in waveforms.missing()]
        self.stdout.write(f"{sum(made)} made, {len(made) - sum(made)} without a readable file")
