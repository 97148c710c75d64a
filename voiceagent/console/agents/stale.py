"""An agent that was changed while somebody had its form open: what they saw, what stands now, and what they typed.

The form carries a digest of every value that it showed. A value that only the others changed is taken over into the form,
one that only its reader changed stays as typed, and of one that both changed both are shown; nothing is lost by saving again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from django import forms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.forms import BaseInlineFormSet, BoundField
    from django.http import QueryDict

    from calls.models import Agent, AgentNumber

    Form = forms.ModelForm[Agent]
    Numbers = BaseInlineFormSet[AgentNumber, Agent, Any]

#: What the numbers are called among the values; no field has this name.
NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that somebody changed: how it stands, and how it was typed. ``here``, ``there``: who changed it."""

    name: str
    label: str
    now: str
    typed: str
    here: bool
    there: bool


def seen(form: Form, numbers: Numbers) -> str:
    """What these show, as short as it can be recognised again."""
    return json.dumps({name: crc32(text.encode()) for name, (_, text) in _texts(form, numbers).items()})


def differences(given: str, typed: tuple[Form, Numbers], now: tuple[Form, Numbers]) -> list[Difference]:
    """What was changed since it was ``given`` out, here or there, and is not the same now."""
    before, mine, theirs = _read(given), _texts(*typed), _texts(*now)
    return [
        Difference(
            name, label, text, mine[name][1],
            here=before.get(name) != crc32(mine[name][1].encode()), there=before.get(name) != crc32(text.encode()),
        )
        for name, (label, text) in theirs.items() if text != mine[name][1]
    ]  # fmt: skip


def merged(typed: QueryDict, now: Form, found: list[Difference]) -> QueryDict:
    """What was typed, with what only the others changed as it stands now."""
    data = typed.copy()
    for one in found:
        if not one.here and one.name != NUMBERS:
            _put(data, now[one.name])
    return data


def new_rows(numbers: Numbers) -> list[dict[str, str]]:
    """The rows that were typed besides the agent's own."""
    rows = [{name: str(row[name].value() or "") for name in ("number", "note")} for row in numbers.extra_forms]
    return [row for row in rows if any(row.values())]


def _put(data: QueryDict, field: BoundField) -> None:
    """Give a form's data the value of this field, as a browser would send it."""
    value = field.value()
    if isinstance(value, list):
        data.setlist(field.html_name, [str(one) for one in value])
    elif value is False:
        data.pop(field.html_name, None)
    else:
        data[field.html_name] = "on" if value is True else str(value)


def _read(given: str) -> Mapping[str, int]:
    try:
        found = json.loads(given)
    except ValueError:  # nothing that we gave out: nothing is known of what was seen
        return {}
    return found if isinstance(found, dict) else {}


def _texts(form: Form, numbers: Numbers) -> dict[str, tuple[str, str]]:
    """Every value by its field: label and text."""
    rows = [
        f"{_text(row['number'])} {_text(row['note'])}".strip()
        for row in numbers
        if not ("DELETE" in row.fields and row["DELETE"].value())
    ]
    found = {field.name: (str(field.label), _text(field)) for field in form}
    return found | {NUMBERS: ("Numbers it answers", "\n".join(sorted(filter(None, rows))))}


def _text(field: BoundField) -> str:
    """A value as people read it, the same whether it was stored or typed."""
    value = field.value()
    if isinstance(field.field, forms.BooleanField):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(sorted(str(one) for one in value))
    if isinstance(field.field, forms.ChoiceField):
        return str(dict(field.field.choices).get(value, value))  # type: ignore[arg-type]
    return "\n".join(str("" if value is None else value).splitlines()).strip()
