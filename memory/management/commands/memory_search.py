"""``manage.py memory_search``: what is known of a caller that answers a question."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from memory import selectors
from memory.embedding.port import EmbeddingError
from memory.management.shared import BAD_INPUT, MemoryCommand, person_of
from memory.manager import current

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from memory.core.values import Hit


class Command(MemoryCommand):
    """The best first. ``in_prompt`` says what a call would have given the model."""

    help = "Search a caller's memory by words and meaning."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose memory, what for, how much."""
        parser.add_argument("caller", metavar="CALLER", help="number with + and country code, or id")
        parser.add_argument("query", metavar="QUERY")
        parser.add_argument("--limit", type=int, default=10, metavar="K", help="hits, whatever a prompt would take")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Search and print."""
        if options["limit"] < 1:
            raise CommandError("--limit must be 1 or more", returncode=BAD_INPUT)
        person = person_of(options["caller"])
        try:
            hits = current().search(person, options["query"], limit=options["limit"])
        except (ValueError, EmbeddingError) as error:
            raise CommandError(str(error), returncode=BAD_INPUT) from error
        labels = selectors.labels(person, [hit.row.id for hit in hits])
        for hit in hits:
            found = _found(hit, labels.get(hit.row.id, ""))
            self.stdout.write(json.dumps(found, ensure_ascii=True) if options["json"] else _told(found))
        if not hits and not options["json"]:
            self.stdout.write("nothing found")


def _found(hit: Hit, label: str) -> dict[str, Any]:
    row = hit.row
    place = f"{row.origin.conversation}:{row.origin.seq}" if row.origin.conversation else ""
    return {
        "id": row.id,
        "text": row.text,
        "kind": row.kind.value,
        "said_at": row.said_at.isoformat(),
        "source": label or place,
        "score": round(hit.score, 6),
        "in_prompt": hit.in_prompt,
    }


def _told(found: dict[str, Any]) -> str:
    mark = "*" if found["in_prompt"] else " "
    text = found["text"].encode("utf-8", errors="replace").decode()
    return f"{mark} {found['score']:.3f}  {found['said_at'][:16]}  {found['kind']:<10}  {text}  [{found['source']}]"
