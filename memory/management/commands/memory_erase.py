"""``manage.py memory_erase``: forget a caller, a conversation or a fact, for good."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from memory.management.shared import BAD_INPUT, PARTLY, MemoryCommand
from memory.manager import current
from memory.models import ErasureRequest
from memory.services.erasure import NothingThere

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from memory.people import Person


class Command(MemoryCommand):
    """Exit code 0: erased, and a search found nothing; 1: not finished yet, the receipt says why; 2: nothing was done."""

    help = "Erase a caller everywhere, or one conversation or fact with what was derived from it; prints the receipt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whom or what."""
        parser.add_argument("caller", metavar="CALLER", help="number with + and country code, or id")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--fact", metavar="ID", help="this fact only, and the words it was heard in")
        what.add_argument("--conversation", metavar="NAME", help="this conversation or call only")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Ask, erase, print the receipt."""
        what = "this fact" if options["fact"] else "this conversation" if options["conversation"] else "this caller"
        if not options["yes"] and not _confirmed(f"Erase {what} for good? Type yes: "):
            raise CommandError("nothing was erased", returncode=BAD_INPUT)
        try:
            request = self._erase(options)
        except (NothingThere, ValueError) as error:
            raise CommandError(str(error), returncode=BAD_INPUT) from error
        self.stdout.write(json.dumps(_receipt(request), indent=2))
        if request.state != ErasureRequest.State.VERIFIED:
            raise CommandError(
                "not finished: it is taken up again by itself, or by the same command", returncode=PARTLY
            )

    def _erase(self, options: dict[str, Any]) -> ErasureRequest:
        manager, by = current(), f"operator:{getpass.getuser()}"
        caller = options["caller"].strip()
        person = manager.find(caller)
        if options["fact"]:
            return manager.forget(_known(person), options["fact"], by=by)
        if options["conversation"]:
            return manager.forget_conversation(_known(person), options["conversation"], by=by)
        return manager.erase(person, by=by) if person else manager.erase_number(caller, by=by)


def _known(person: Person | None) -> Person:
    if person is None:
        raise NothingThere("there is no caller with this number or id")
    return person


def _receipt(request: ErasureRequest) -> dict[str, Any]:
    said = {name: value for name, value in request.receipt.items() if name != "plan"}
    done = request.done_at.isoformat() if request.done_at else None
    return {"id": str(request.pk), "scope": request.scope, "state": request.state, "done_at": done, **said}


def _confirmed(question: str) -> bool:
    """Whether somebody said yes; nobody at the terminal says no."""
    try:
        return input(question).strip() == "yes"
    except EOFError:
        return False
