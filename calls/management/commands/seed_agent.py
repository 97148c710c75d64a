"""``manage.py seed_agent``: the demonstration agent for an empty database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from calls.agents import DEMO_NUMBER, seed_demo_agent


class Command(BaseCommand):
    """Safe to run at every start: it does nothing where there is an agent already."""

    help = "Give an empty database the demonstration agent."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Seed, and say what happened."""
        version = seed_demo_agent()
        if version is None:
            self.stdout.write("There is an agent already.")
        else:
            self.stdout.write(self.style.SUCCESS(f"Made the agent {version} at {DEMO_NUMBER}."))
