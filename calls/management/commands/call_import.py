"""``manage.py call_import``: exported calls into the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from calls.management import sources
from calls.replay.callfile import CallFileError
from calls.replay.show import BAD_INPUT
from calls.services import transfer
from calls.services.archive import Archived
from calls.services.transfer import TransferError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """The same file again changes nothing."""

    help = "Take exported calls over, so that admin and timeline show them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which files."""
        parser.add_argument("files", nargs="+", metavar="FILE")

    def handle(self, *_args: Any, **options: Any) -> None:
        """One after the other, up to the first that cannot be taken over."""
        for name in options["files"]:
            try:
                file = sources.file_of(name)
                result = transfer.take_over(file)
            except (OSError, CallFileError, TransferError) as error:
                raise CommandError(f"{name}: {error}", returncode=BAD_INPUT) from error
            done = "imported" if result is Archived.ARCHIVED else "is here already"
            self.stdout.write(f"{file.record.call_sid}: {done}, {len(file.record.lines)} entries")
