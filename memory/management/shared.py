"""What the memory's commands share: tables that are there, whose memory is meant, and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from memory.manager import current
from memory.models import Caller

if TYPE_CHECKING:
    from memory.people import Person

#: Exit codes beside 0: some of the input was bad, or nothing could be done.
PARTLY, BAD_INPUT = 1, 2
#: As a shell counts them: stopped by Ctrl-C, and by a reader that closed the pipe.
INTERRUPTED, PIPE_CLOSED = 130, 141


class MemoryCommand(BaseCommand):
    """A command on the memory's tables. A database that has none at all gets them; one that is behind is an error."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Look at the tables first. Raises ``CommandError``."""
        # What a command prints is read by programs: log lines go beside it.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(sys.stderr)
        tables = connection.introspection.table_names()
        if Caller._meta.db_table not in tables:
            if tables:
                raise CommandError("the database has no memory yet: run manage.py migrate first", returncode=BAD_INPUT)
            call_command("migrate", verbosity=0)
        try:
            told = super().execute(*args, **options)
            sys.stdout.flush()  # a short answer reaches its reader only now
            return told
        except BrokenPipeError:
            # Who reads has enough. What is still buffered would fail once more when the interpreter flushes at its end.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            raise CommandError("stopped", returncode=INTERRUPTED) from None


def person_of(caller: str) -> Person:
    """The caller with this number or id. Raises ``CommandError``, which does not repeat the number."""
    person = current().find(caller.strip())
    if person is None:
        raise CommandError(
            "there is no caller with this number or id; write a number with + and country code", returncode=BAD_INPUT
        )
    return person
