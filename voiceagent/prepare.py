"""What must be in the database before the first call: tables, an operator, the demonstration agent.

Run as a process of its own by the supervisor, which stays small: ``python -m voiceagent.prepare FILE``. The file
gets a JSON object with what a person wants to know.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.management import call_command, get_commands
from django.urls import Resolver404, resolve

from voiceagent.embedded import state

OPERATOR = "operator"


def main(facts_file: Path) -> None:
    """Prepare, and write down what was found."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceagent.settings.embedded")
    django.setup()
    from django.conf import settings  # after setup

    embedded = os.environ["DJANGO_SETTINGS_MODULE"] == "voiceagent.settings.embedded"
    warnings = _checked()
    call_command("migrate", interactive=False, verbosity=1)
    if not embedded:
        call_command("collectstatic", interactive=False, verbosity=0)
    facts: dict[str, Any] = {"console": _console(), "warnings": warnings}
    if embedded:
        facts |= _operator(Path(settings.DATA_DIR))
    if "seed_agent" in get_commands():
        call_command("seed_agent")
    facts["numbers"] = _numbers()
    state.write_json(facts_file, facts)


def _checked() -> list[str]:
    """What Django's and our own system checks warn of, a line each. Exits with what they find wrong."""
    messages = [message for message in checks.run_checks() if not message.is_silenced()]
    if serious := [message for message in messages if message.is_serious()]:
        sys.exit("\n".join(map(_line, serious)))
    return [_line(message) for message in messages if message.level >= checks.WARNING]


def _line(message: checks.CheckMessage) -> str:
    return " ".join(filter(None, (message.msg, message.hint)))


def _console() -> str:
    """The console's path; empty while there is none."""
    try:
        resolve("/console/")
    except Resolver404:
        return ""
    return "/console/"


def _operator(data_dir: Path) -> dict[str, str]:
    """Make the operator if there is none; the password is said only while it is still the generated one."""
    password = state.secrets(data_dir)["operator_password"]
    users = get_user_model()
    operator = users.objects.filter(username=OPERATOR).first()
    if operator is None:
        users.objects.create_superuser(OPERATOR, password=password)
    elif not operator.check_password(password):
        return {"user": OPERATOR, "password": ""}
    return {"user": OPERATOR, "password": password}


def _numbers() -> list[str]:
    """The numbers that are answered."""
    numbers = apps.get_model("calls", "AgentNumber")
    return list(numbers._default_manager.filter(agent__is_active=True).values_list("number", flat=True)[:5])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
