"""Records in the admin: to be read; never added or changed by hand, and deleted only by whoever may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.html import format_html

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


class ReadOnlyMixin:
    """For ``ModelAdmin`` and inlines alike. Deleting stays with Django's permission."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records are written by services only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records are written by services only."""
        return False


def link(row: Model, text: str) -> str:
    """A link to a row's page in the admin."""
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, text)


def stack(first: str, second: str) -> str:
    """Two lines in one cell."""
    return format_html('<span class="stack">{}</span><span class="stack">{}</span>', first, second)
