"""What a page sends in the body of a request, as texts: a form's fields, or those of a JSON object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from calls.services.entries import clean

if TYPE_CHECKING:
    from django.http import HttpRequest


def texts(request: HttpRequest) -> dict[str, str]:
    """Field to text, without what the database cannot store. What is no text is left out; what is no object has nothing."""
    found: Any = of_json(request.body) if request.content_type == "application/json" else request.POST.dict()
    return {clean(name): clean(value) for name, value in found.items() if isinstance(value, str)}


def of_json(body: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for what is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
