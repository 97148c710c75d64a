"""One caller's rows and no others: the database's own second look at every question about a caller.

Inside ``scoped`` the connection acts as the role ``memory_scoped``, whose row policies admit the rows of one caller
only, whatever the query says. Selectors filter by caller as well; this is what holds where one of them forgets.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, connections, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

ROLE = "memory_scoped"
#: The setting that the row policies compare with.
SETTING = "memory.caller"


@contextmanager
def scoped(caller_id: UUID, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """A transaction in which only this caller's rows exist; writing another's raises ``ProgrammingError``.

    Nests in a transaction, not in the scope of another caller: that raises ``RuntimeError``.
    """
    connection = connections[using]
    with transaction.atomic(using=using):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting(%s, true)", [SETTING])
            around = cursor.fetchone()[0] or ""
            if around not in ("", str(caller_id)):
                raise RuntimeError("a caller's scope was opened inside another caller's")
            cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, str(caller_id)])
            cursor.execute(f"SET LOCAL ROLE {ROLE}")
        yield
        if not around:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
                cursor.execute("SELECT set_config(%s, '', true)", [SETTING])


@contextmanager
def erasing(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """A transaction in which rows of the history may be deleted, which a trigger refuses everywhere else."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SET LOCAL memory.erasing = 'on'")
        yield
        with connections[using].cursor() as cursor:
            cursor.execute("SET LOCAL memory.erasing = 'off'")
