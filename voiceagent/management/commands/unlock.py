"""``manage.py unlock``: let everybody try to log in again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from limits.errors import StorageError

from memory import limits
from voiceagent.login import OF_ADDRESS, OF_USER


class Command(BaseCommand):
    """All locks at once: they are kept by a hash of user and address, and who is locked out rarely knows the latter."""

    help = "Forget the wrong passwords that were counted, of all users and addresses, so that nobody has to wait."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Forget them in Redis, and so for all processes. Raises ``CommandError`` where Redis does not answer."""
        try:
            count = sum(limits.current().clear_all(rule) for rule in (OF_USER, OF_ADDRESS))
        except StorageError as error:
            kind = type(error.storage_error).__name__
            text = (
                f"Redis does not answer ({kind}); without it each web process counts by itself, until it is restarted"
            )
            raise CommandError(text) from None
        self.stdout.write(f"{count} counts forgotten: everybody may try again")
