"""``manage.py memory_export``: all that is kept of a caller, as lines of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from memory.management.shared import BAD_INPUT, MemoryCommand, person_of
from memory.manager import current

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(MemoryCommand):
    """``memory_import`` reads it back, elsewhere or here."""

    help = "Write all that is remembered of a caller: what was said, facts with their lives and sources, settings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose memory, and where to."""
        parser.add_argument("caller", metavar="CALLER", help="number with + and country code, or id")
        parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Write line by line. A file is readable by its owner only."""
        person = person_of(options["caller"])
        lines = (json.dumps(line, ensure_ascii=True) for line in current().export(person))
        if options["out"] is None:
            for line in lines:
                self.stdout.write(line)
            return
        try:
            with open(os.open(options["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - the mode from the first byte on
                count = sum(bool(file.write(f"{line}\n")) for line in lines)
        except OSError as error:
            raise CommandError(f"{options['out']}: {error.strerror}", returncode=BAD_INPUT) from error
        self.stdout.write(f"{options['out']}: {count} lines")
