"""What stands in the address of the list: the query and how its results are shown. The whole view is in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from calls.services.entries import clean
from voiceagent.console.calls.listing import NEWEST, SORTS, Sort
from voiceagent.console.calls.parsing import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.http import QueryDict

    from voiceagent.console.calls.parsing import Query

SHOWN = MappingProxyType({"calls": "Calls", "turns": "Turns", "memories": "Memories"})
BY = MappingProxyType({"words": "Words", "meaning": "Meaning"})
DENSITIES = ("roomy", "compact")
#: The columns that there are; those a list begins with are the brief's.
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "start": "Start",
        "caller": "Caller",
        "duration": "Duration",
        "turns": "Turns",
        "outcome": "Outcome",
        "response": "Response p95",
        "bargein": "Interruptions",
        "errors": "Errors",
        "memory": "Memory",
        "flags": "Flags",
        "median": "Response p50",
        "line": "Line",
        "agent": "Agent",
        "lang": "Language",
        "version": "Software",
        "id": "Call id",
    }
)
USUAL = ("start", "caller", "duration", "turns", "outcome", "response", "bargein", "errors", "memory", "flags")


@dataclass(frozen=True, slots=True)
class Params:
    """The view, each part one of what it can be. ``after`` is a page's mark, ``counted``: the exact count was asked for."""

    q: str = ""
    show: str = "calls"
    by: str = "words"
    sort: Sort = NEWEST
    columns: tuple[str, ...] = USUAL
    density: str = "roomy"
    after: str = ""
    counted: bool = False

    @property
    def address(self) -> str:
        """The query string; what is as usual is left out."""
        given = {
            "q": self.q,
            "show": self.show,
            "by": self.by,
            "sort": self.sort.name,
            "cols": ",".join(self.columns),
            "density": self.density,
            "after": self.after,
            "count": "1" if self.counted else "",
        }
        return "?" + urlencode({name: value for name, value in given.items() if value != _USUALLY[name]} or {"q": ""})

    @property
    def carried(self) -> str:
        """What the page of a call needs of the view to go on through its results: a query string without ``?``."""
        given = {"q": self.q, "by": self.by, "sort": self.sort.name}
        return urlencode({name: value for name, value in given.items() if name == "q" or value != _USUALLY[name]})

    def but(self, **changes: Any) -> Params:
        """The same view but for these; another query or order begins at its first page."""
        return replace(self, **{"after": "", "counted": False, **changes})

    def asking(self, query: Query) -> str:
        """The address of the same view of another query."""
        return self.but(q=to_text(query)).address


_USUALLY = {
    "q": "",
    "show": "calls",
    "by": "words",
    "sort": NEWEST.name,
    "cols": ",".join(USUAL),
    "density": "roomy",
    "after": "",
    "count": "",
}


def read(given: QueryDict) -> Params:
    """The view of an address or a form; what it does not know in it is as usual."""
    return Params(
        q=clean(given.get("q") or "").strip(),
        show=_one_of(given.get("show"), SHOWN, "calls"),
        by=_one_of(given.get("by"), BY, "words"),
        sort=SORTS.get(given.get("sort") or "", NEWEST),
        columns=columns(",".join(given.getlist("cols")).split(",")),
        density=_one_of(given.get("density"), DENSITIES, "roomy"),
        after=given.get("after") or "",
        counted=given.get("count") == "1",
    )


def columns(names: Iterable[Any]) -> tuple[str, ...]:
    """These columns in the order in which they stand, the usual ones for none; the first, by which a row is opened, always."""
    chosen = {name for name in names if isinstance(name, str)} & COLUMNS.keys()
    return tuple(name for name in COLUMNS if name in chosen | {"start"}) if chosen else USUAL


def _one_of(value: str | None, known: Iterable[str], usual: str) -> str:
    return value if value is not None and value in known else usual
