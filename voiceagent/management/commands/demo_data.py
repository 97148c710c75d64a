"""``manage.py demo_data``: a month of calls to look at, held through the real core on virtual time; ``--remove`` takes it away."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from voiceagent.demo import making
from voiceagent.demo.plan import plan


class Command(BaseCommand):
    """Safe to run again: calls that are there stay as they are."""

    help = "Fill the console with a demonstration: calls of a month, their callers' memories, several agents."

    def add_arguments(self, parser: Any) -> None:
        """How much, and whether to take it away."""
        parser.add_argument("--calls", type=int, default=500, help="how many calls (500)")
        parser.add_argument("--days", type=int, default=30, help="over how many days before now (30)")
        parser.add_argument("--seed", type=int, default=1, help="another number makes other calls (1)")
        parser.add_argument("--remove", action="store_true", help="take the demonstration away again")
        parser.add_argument(
            "--beside-real-calls", action="store_true", help="make it in a database that has calls of real people too"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make or remove it, and say how it goes. Raises ``CommandError`` where real calls are."""
        if options["remove"]:
            self.stdout.write(f"Removed {making.remove()} calls of the demonstration.")
            return
        if not 1 <= options["calls"] <= 5000 or not 1 <= options["days"] <= 365:
            raise CommandError("--calls must be 1 to 5000 and --days 1 to 365")
        if (real := making.real_calls()) and not options["beside_real_calls"]:
            raise CommandError(
                f"This database has {real} calls that are no demonstration. --beside-real-calls makes it there all the same."
            )
        began = time.monotonic()
        now = timezone.now()
        wanted = plan(options["calls"], options["days"], now, options["seed"])

        def tell(done: int) -> None:
            if done % 50 == 0:
                self.stdout.write(f"{done} of {len(wanted)} calls, {time.monotonic() - began:.0f} s")
                self.stdout.flush()

        made = making.make(wanted, now, tell)
        self.stdout.write(self.style.SUCCESS(f"Made {made} calls in {time.monotonic() - began:.0f} s."))
