"""``manage.py freeze_core``: keep today's rules, so that records made by them replay when the rules have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import calls.core
from calls.core.policy import POLICY_VERSION
from calls.replay import cores, versions


class Command(BaseCommand):
    """Run it before the first change to the meaning of the rules, then raise ``POLICY_VERSION``."""

    help = "Copy the core as it is to calls/replay/cores, under its policy version."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Copy, and say what to do next."""
        try:
            versions.freeze(Path(calls.core.__path__[0]), Path(cores.__path__[0]), POLICY_VERSION)
        except FileExistsError as error:
            raise CommandError(f"version {POLICY_VERSION} is frozen already") from error
        self.stdout.write(
            f"Froze the core as version {POLICY_VERSION}. Now set POLICY_VERSION to {POLICY_VERSION + 1} and change it."
        )
