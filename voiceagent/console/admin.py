"""The console's rows in Django's admin: the audit trail, to read; and users and groups, within what one has oneself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from voiceagent.console import useradmin
from voiceagent.console.models import AuditEntry

if TYPE_CHECKING:
    from django.http import HttpRequest

    _Admin = admin.ModelAdmin[AuditEntry]
else:
    _Admin = admin.ModelAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(_Admin):
    """Nothing is added, changed or removed here: ``voiceagent.console.audit`` adds, nobody else does anything."""

    list_display = ("at", "username", "address", "action", "call_sid", "entry", "reason")
    list_filter = ("action",)
    search_fields = ("username", "call_sid", "entry", "reason")
    date_hierarchy = "at"
    show_full_result_count = False

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """As in the console."""
        return bool(request.user.has_perm("console.view_audit"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The same."""
        return self.has_view_permission(request)

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Nobody."""
        return False


useradmin.install()
