"""``manage.py call_to_test``: a recorded call as a regression test, in other words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from calls.management import sources
from calls.management.sources import FILE_SUFFIX
from calls.replay.callfile import CallFileError, written
from calls.replay.disguise import DisguiseError, disguised
from calls.replay.show import BAD_INPUT
from calls.replay.versions import UnknownVersion
from calls.services.transfer import TransferError

if TYPE_CHECKING:
    from argparse import ArgumentParser


FOLDER = Path(__file__).resolve().parents[3] / "tests" / "calls"


class Command(BaseCommand):
    """The test takes the same steps as the call; words, names, numbers and ids are others, and there is no audio."""

    help = "Turn a recorded call into a test under tests/calls."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which call, and the test's name."""
        parser.add_argument("call", metavar="CALL_SID|FILE", help="an archived call, or an exported file")
        parser.add_argument("--name", required=True, help="what the call shows, such as three-barge-ins")
        parser.add_argument("--folder", type=Path, default=FOLDER)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Disguise, write, say where."""
        name, folder = options["name"], options["folder"]
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise CommandError("a name is made of a-z, 0-9 and -", returncode=BAD_INPUT)
        target: Path = folder / f"{name}{FILE_SUFFIX}"
        try:
            record = disguised(sources.record_of(options["call"]))
            with target.open("xb") as file:
                file.write(written(record))
        except FileExistsError as error:
            raise CommandError(f"{target} is there already", returncode=BAD_INPUT) from error
        except (OSError, CallFileError, TransferError, UnknownVersion, DisguiseError) as error:
            raise CommandError(f"{options['call']}: {error}", returncode=BAD_INPUT) from error
        self.stdout.write(f"{target}: {len(record.lines)} entries. Read it before you commit it.")
