"""``manage.py call_export``: an archived call as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from calls.management.sources import FILE_SUFFIX
from calls.replay.callfile import written
from calls.replay.show import BAD_INPUT
from calls.services import transfer
from calls.services.transfer import TransferError

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Words, names and numbers go along as they are."""

    help = "Write an archived call into one file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which call, and where to."""
        parser.add_argument("call_sid", metavar="CALL_SID")
        parser.add_argument(
            "--out", type=Path, metavar="FILE", help=f"default: CALL_SID{FILE_SUFFIX}; plain without .gz"
        )
        parser.add_argument("--with-audio", action="store_true", help="with the recording")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Read, write, say where."""
        sid = options["call_sid"]
        target: Path = options["out"] or Path(f"{sid}{FILE_SUFFIX}")
        try:
            record = transfer.record_of(sid)
            audio = transfer.audio_of(sid) if options["with_audio"] else b""
            target.write_bytes(written(record, audio, packed=target.suffix == ".gz"))
        except (TransferError, OSError) as error:
            raise CommandError(f"{sid}: {error}", returncode=BAD_INPUT) from error
        self.stdout.write(f"{target}: {len(record.lines)} entries, {len(audio)} bytes of audio")
