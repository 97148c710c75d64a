"""Records in the admin: to be read; never added or changed by hand, and deleted only by whoever may."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.utils.html import format_html

#: The style of our pages in the admin.
STYLES = {"all": ["calls/css/admin.css"]}

if TYPE_CHECKING:
    from django.http import HttpRequest


class ReadOnlyMixin:
    """For ``ModelAdmin`` and inlines alike. Deleting stays with Django's permission."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records are written by services only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records are written by services only."""
        return False


def pretty(value: Any) -> str:
    """A JSON value to read."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))
