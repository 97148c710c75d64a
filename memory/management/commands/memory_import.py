"""``manage.py memory_import``: lines of JSON into the memory."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from memory.embedding.port import EmbeddingError
from memory.management.shared import BAD_INPUT, INTERRUPTED, PARTLY, MemoryCommand
from memory.manager import current
from memory.services.importing import Progress

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable

#: Broken lines that are named; a file of another kind has one in every line.
_MOST_NAMED = 50
_TELL_EVERY_S = 10.0


class Command(MemoryCommand):
    """Exit code 0: every line is in the memory; 1: some could not be taken, and are named; 2: none was."""

    help = "Take conversations and facts over from a file with one JSON object a line. The same file again changes nothing."

    _next_told_s = 0.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which file."""
        parser.add_argument("file", metavar="FILE.jsonl", help="- for standard input")
        parser.add_argument("--by", default="", metavar="NAME", help="who imports, for the history; default: the file")
        parser.add_argument("--no-distil", action="store_true", help="keep what was said; find no facts in it")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Read, write, embed; tell how far it is."""
        name = options["file"]
        by = f"import:{options['by'] or Path(name).name}"
        last = Progress()
        with ExitStack() as stack:
            try:
                lines: Iterable[bytes] = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
            except OSError as error:
                raise CommandError(f"{name}: {error.strerror}", returncode=BAD_INPUT) from error
            try:
                for last in current().import_lines(lines, by=by, distil=not options["no_distil"]):
                    self._tell(last)
            except KeyboardInterrupt:
                raise CommandError(
                    f"stopped after line {last.lines}; the same command goes on from there", returncode=INTERRUPTED
                ) from None
            except EmbeddingError as error:
                raise CommandError(
                    f"everything is written, but not embedded: {error}; memory_reembed does the rest", returncode=PARTLY
                ) from None
        self.stdout.write(
            f"{last.lines} lines: {last.said} utterances and {last.facts} facts imported, {last.known} known already,"
            f" {last.failed} not taken"
        )
        if last.failed:
            sys.exit(PARTLY if last.taken else BAD_INPUT)

    def _tell(self, progress: Progress) -> None:
        before = progress.failed - len(progress.failures)
        for place, failure in enumerate(progress.failures, before + 1):
            if place <= _MOST_NAMED:
                self.stderr.write(f"line {failure.line}: {failure.why}")
            elif place == _MOST_NAMED + 1:
                self.stderr.write("more lines are broken; the first are named")
        done = f"embedded {progress.embedded} of {progress.to_embed}" if progress.to_embed else f"line {progress.lines}"
        if self.stderr.isatty():
            self.stderr.write(f"\r{done}", ending="")
            self.stderr.flush()
        elif (now_s := monotonic()) >= self._next_told_s:  # into a log: a line now and then, none for a short file
            if self._next_told_s:
                self.stderr.write(done)
            self._next_told_s = now_s + _TELL_EVERY_S
