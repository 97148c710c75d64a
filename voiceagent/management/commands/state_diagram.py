"""``manage.py state_diagram``: write ``docs/states.md`` from the core's tables; ``--check`` says whether it is current.

Everything but the frame of the page comes from ``calls.core.machine``: a row of a table is a row of the page.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from calls.core.ending import TIMERS
from calls.core.machine import ALWAYS, AROUND, TABLE
from calls.core.state import END_REASONS, Mode, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from calls.core.events import Event
    from calls.core.machine import Row

PAGE = Path(__file__).resolve().parents[3] / "docs" / "states.md"

#: Where the phases lead, which the tables leave to the handlers: phase, events or timer, next phase.
PHASES: tuple[tuple[Phase, str, Phase], ...] = (
    (Phase.CONNECTING, "CallStarted", Phase.ACTIVE),
    (Phase.CONNECTING, "CarrierGone, HangUpAsked", Phase.ENDED),
    (Phase.ACTIVE, "HangUpAsked, last word heard", Phase.ENDING),
    (Phase.ACTIVE, "CarrierGone", Phase.ENDED),
    (Phase.ACTIVE, "OperatorTookOver", Phase.OPERATOR),
    (Phase.OPERATOR, "OperatorHandedBack, grace timer", Phase.ACTIVE),
    (Phase.OPERATOR, "HangUpAsked", Phase.ENDING),
    (Phase.OPERATOR, "CarrierGone", Phase.ENDED),
    (Phase.ENDING, "CarrierGone, hangup timer", Phase.ENDED),
)

#: Where events that every mode treats alike lead, of all that their rows admit: the ones that make the picture.
COMMON: tuple[tuple[Mode, str, Mode], ...] = (
    (Mode.LISTENING, "TimerFired", Mode.THINKING),
    (Mode.THINKING, "AudioSent", Mode.SPEAKING),
    (Mode.SPEAKING, "MarkReturned", Mode.THINKING),
    (Mode.SPEAKING, "MarkReturned", Mode.LISTENING),
    (Mode.THINKING, "VoiceFinished", Mode.LISTENING),
)

HEAD = """# States of a call

Generated from `calls/core/machine.py` by `manage.py state_diagram`; do not edit. The theory of operation stands at the
head of that file, what each state means in `calls/core/state.py`.
"""


def page() -> str:
    """The whole document."""
    sections = [HEAD, _diagram(), "## By mode\n"]
    for mode in TABLE:
        own = {event: row for event, row in TABLE[mode].items() if event not in ALWAYS}
        sections.append(f"### {mode}\n\n{_rows(own)}")
    sections.append(f"## In every mode\n\n{_rows(ALWAYS)}")
    sections.append("## Around the conversation\n\nWhat is not listed comes too late and is only counted.\n")
    sections += [f"### {phase}\n\n{_rows(rows)}" for phase, rows in AROUND.items() if rows]
    sections.append(f"## Timers\n\n{_table(('timer', 'handler', 'does'), _timers())}")
    sections.append(
        f"## End reasons\n\n{_table(('reason', 'meaning'), ((f'`{k}`', v) for k, v in END_REASONS.items()))}"
    )
    return "\n".join(sections)


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Phase.CONNECTING}"]
    lines += [f"    {source} --> {target}: {events}" for source, events, target in PHASES]
    lines += [f"    {Phase.ENDED} --> [*]", f"    state {Phase.ACTIVE} {{", f"        [*] --> {Mode.LISTENING}"]
    for (source, target), events in _edges().items():
        lines.append(f"        {source} --> {target}: {', '.join(events)}")
    return "\n".join(
        [*lines, "    }", "```", "", "Model, tools, voice, marks and timers act in every mode; the table says how.\n"]
    )


def _edges() -> dict[tuple[Mode, Mode], list[str]]:
    """What may lead from one mode to another: all rows that differ by mode, and the common ones that matter."""
    edges: defaultdict[tuple[Mode, Mode], list[str]] = defaultdict(list)
    for mode, rows in TABLE.items():
        for event, row in rows.items():
            if event not in ALWAYS:
                for target in (target for target in Mode if target in row.then and target is not mode):
                    edges[mode, target].append(event.__name__)
    for source, common, target in COMMON:
        edges[source, target].append(common)
    return edges


def _rows(rows: Mapping[type[Event], Row]) -> str:
    return _table(
        ("event", "then", "handler", "does"),
        (
            (f"`{event.__name__}`", ", ".join(mode for mode in Mode if mode in row.then), *_handler(row.handler))
            for event, row in rows.items()
        ),
    )


def _timers() -> Iterable[tuple[str, ...]]:
    return ((f"`{name}`", *_handler(handler)) for name, handler in TIMERS.items())


def _handler(handler: Callable[..., None]) -> tuple[str, str]:
    module = handler.__module__.rpartition(".")[2]
    does = " ".join((handler.__doc__ or "").split("\n\n")[0].split())
    return f"`{module}.{handler.__name__}`", does


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


class Command(BaseCommand):
    """Writes the page, or compares it."""

    help = "Write docs/states.md from the core's tables."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own name and kind

    def add_arguments(self, parser: Any) -> None:
        """``--check``: write nothing, fail where the page is out of date."""
        parser.add_argument("--check", action="store_true", help="only say whether the page is current")

    def handle(self, *_args: Any, check: bool = False, **_options: Any) -> None:
        """Write or compare. Raises ``CommandError`` where the page is out of date."""
        text = page()
        current = PAGE.read_text() if PAGE.exists() else ""
        if check and current != text:
            raise CommandError(f"{PAGE.name} is out of date: run manage.py state_diagram")
        if not check and current != text:
            PAGE.write_text(text)
        self.stdout.write(f"{PAGE.name} is current.")
