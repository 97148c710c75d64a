"""``manage.py memory_reembed``: vectors of the models that are configured now."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError

from memory.embedding.port import EmbeddingError
from memory.management.shared import PARTLY, MemoryCommand
from memory.services.embedding import Reembedded, reembed


class Command(MemoryCommand):
    """Search goes on meanwhile: a row is found by its old vector or its words until it has the new one."""

    help = (
        "Give every row that lacks one a vector of the configured models. Can be stopped, and goes on when run again."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Caller by caller, with how far it is."""
        last: Reembedded | None = None
        try:
            for last in reembed():
                if self.stderr.isatty():
                    self.stderr.write(f"\r{last.done} of {last.total} callers", ending="")
                    self.stderr.flush()
        except KeyboardInterrupt:
            done = last.done if last else 0
            raise CommandError(f"stopped after {done} callers; the same command goes on", returncode=130) from None
        except EmbeddingError as error:
            raise CommandError(str(error), returncode=PARTLY) from error
        if last is None:
            return
        written = last.written
        self.stdout.write(f"{last.done} callers: {written.local} vectors written, {written.second} of the second model")
        if written.failed:
            self.stderr.write(f"the second embedding stopped: {written.failed}")
            sys.exit(PARTLY)
