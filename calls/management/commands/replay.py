"""``manage.py replay``: recorded calls again, by a fresh core."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from calls.management import sources
from calls.replay.callfile import CallFileError
from calls.replay.run import replay
from calls.replay.show import BAD_INPUT, DIFFERS, SAME, exit_code, report
from calls.replay.versions import UnknownVersion
from calls.services import transfer
from calls.services.transfer import TransferError

if TYPE_CHECKING:
    from argparse import ArgumentParser

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WORDS = {SAME: "OK", DIFFERS: "not the same", BAD_INPUT: "unusable"}


class Command(BaseCommand):
    """Exit code 0: all are the same; 1: one differs or violates an invariant; 2: one cannot be read to its end."""

    help = "Feed recorded calls to a fresh core and say whether states and commands are the same."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Calls by id or file, or all since a time."""
        parser.add_argument("calls", nargs="*", metavar="CALL_SID|FILE", help="an archived call, or an exported file")
        parser.add_argument("--since", metavar="TIME", help="all calls that ended since: 2h, 30m, 7d or 2026-11-01")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Replay each, print, and exit."""
        names = list(options["calls"])
        if options["since"]:
            names += transfer.archived_since(moment(options["since"]))
        elif not names:
            raise CommandError("name calls, files or --since", returncode=BAD_INPUT)
        codes = Counter(self._replay(name) for name in names)
        if len(names) != 1:
            counts = ", ".join(f"{count} {_WORDS[code]}" for code, count in sorted(codes.items()))
            self.stdout.write(f"{len(names)} calls: {counts or 'nothing to replay'}")
        sys.exit(min(codes.keys() - {SAME}, default=SAME))

    def _replay(self, name: str) -> int:
        try:
            record = sources.record_of(name)
            began = time.perf_counter()
            outcome = replay(record)
        except (OSError, CallFileError, TransferError, UnknownVersion) as error:
            self.stdout.write(f"{name}: {error}")
            return BAD_INPUT
        took_ms = (time.perf_counter() - began) * 1000
        for line in report(record.call_sid, outcome, f"{took_ms:.0f} ms"):
            self.stdout.write(line)
        return exit_code(outcome)


def moment(text: str) -> datetime:
    """``2h`` ago, or the beginning of a day, or a point in time. Raises ``CommandError``."""
    span = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if span:
        return timezone.now() - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        point = parse_datetime(text)
        day = None if point else parse_date(text)
    except ValueError:
        point = day = None
    if day is not None:
        point = datetime(day.year, day.month, day.day)
    if point is None:
        raise CommandError(f"{text!r} is no time: write 2h, 30m, 7d or 2026-11-01", returncode=BAD_INPUT)
    return point if timezone.is_aware(point) else timezone.make_aware(point)
