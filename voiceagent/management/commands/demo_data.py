"""``manage.py demo_data``: a month of calls to look at, held through the real core on virtual time; ``--remove`` takes it away."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from argparse import SUPPRESS
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
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
        parser.add_argument(
            "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many processes make it (2)"
        )
        parser.add_argument("--job", type=int, default=0, help=SUPPRESS)
        parser.add_argument("--now", default="", help=SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make or remove it, and say how it goes. Raises ``CommandError`` where real calls are, or not all tables."""
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database has not all its tables yet: `python manage.py migrate` makes them.")
        if options["remove"]:
            self.stdout.write(f"Removed {making.remove()} calls of the demonstration.")
            return
        if not 1 <= options["calls"] <= 5000 or not 1 <= options["days"] <= 365:
            raise CommandError("--calls must be 1 to 5000 and --days 1 to 365")
        if (real := making.real_calls()) and not options["beside_real_calls"]:
            raise CommandError(
                f"This database has {real} calls that are no demonstration. --beside-real-calls makes it there all the same."
            )
        logging.getLogger().setLevel(logging.WARNING)
        began = time.monotonic()
        now = datetime.fromisoformat(options["now"]) if options["now"] else timezone.now()
        wanted = plan(options["calls"], options["days"], now, options["seed"])
        jobs, job = max(1, min(options["jobs"], 8)), options["job"]
        mine = [one for one in wanted if making.job_of(one, jobs) == job]
        making.agents(now)
        others = [] if job else [self._other(options, number, jobs, now) for number in range(1, jobs)]

        def tell(done: int) -> None:
            if done % 50 == 0 and not job:
                self.stdout.write(f"{done} of {len(mine)} calls of this process, {time.monotonic() - began:.0f} s")
                self.stdout.flush()

        making.make(mine, now, tell)
        if failed := [other for other in others if other.wait()]:
            raise CommandError(
                f"{len(failed)} of {jobs} processes failed; what is there is whole. Run it again to go on."
            )
        if not job:
            self.stdout.write(
                self.style.SUCCESS(
                    f"The demonstration has {making.demo_calls()} calls; made in {time.monotonic() - began:.0f} s."
                )
            )

    def _other(self, options: Any, job: int, jobs: int, now: datetime) -> subprocess.Popen[bytes]:
        """Another process, which makes its share."""
        command = [
            sys.executable,
            sys.argv[0],
            "demo_data",
            f"--job={job}",
            f"--jobs={jobs}",
            f"--now={now.isoformat()}",
        ]
        command += [f"--{name}={options[name]}" for name in ("calls", "days", "seed")]
        return subprocess.Popen([*command, "--beside-real-calls"])
