"""Receipts of erasures, tombstones and accesses in the admin: to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join

from memory import people
from memory.admin import shown
from memory.admin.pages import ERASE, VIEW
from memory.models import Access, Caller, ErasureRequest, Tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    _Admin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _Admin = admin.ModelAdmin
    _Paginator = Paginator

_HASH_DIGITS = 12


class BoundedPaginator(_Paginator):
    """Pages without counting millions of rows first."""

    _MOST = 20_000

    @cached_property
    def count(self) -> int:
        """The number of rows, up to a bound."""
        return cast("QuerySet[Any]", self.object_list).order_by()[: self._MOST].count()


class _RecordAdmin(shown.ReadOnlyMixin, _Admin):
    """Rows by keyed hash of a caller: found by number, by id, by the hash or its beginning."""

    paginator = BoundedPaginator
    list_per_page = 100
    show_full_result_count = False
    actions = None
    search_fields: ClassVar = ["caller_hash"]
    search_help_text = "A caller's whole phone number, id, or keyed hash"
    list_title: ClassVar[str]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Of one caller; a number is hashed and not looked for as it is."""
        text = search_term.replace("\x00", "").strip()
        return (queryset.filter(caller_hash__in=_hashes(text)) if text else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with the page's callers looked up at once."""
        return super().changelist_view(request, {"title": self.list_title, **(extra_context or {})})

    @admin.display(description="Caller")
    def shown_caller(self, row: Any) -> str:
        """The beginning of the keyed hash; all there is where the caller was erased."""
        if not row.caller_hash:
            return shown.NOTHING
        return format_html('<code title="{}">{}</code>', row.caller_hash, row.caller_hash[:_HASH_DIGITS])


class ReceiptAdmin(_RecordAdmin):
    """Receipts: what was removed where, what was searched, what stays."""

    list_title = "Receipts of erasures"
    change_form_template = "admin/memory/record.html"
    list_display = ("shown_asked", "scope", "shown_state", "shown_removed_count", "by", "shown_done", "shown_caller")
    list_filter = ("state", "scope")
    fields: ClassVar = [
        "scope", "shown_state", "by", "shown_asked", "shown_done", "shown_whose", "shown_removed", "shown_left",
        "shown_searched", "shown_kept",
    ]  # fmt: skip
    readonly_fields: ClassVar = [
        "shown_state", "shown_asked", "shown_done", "shown_whose", "shown_removed", "shown_left", "shown_searched",
        "shown_kept",
    ]  # fmt: skip

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever erases sees the receipts."""
        return super().has_view_permission(request, obj) or request.user.has_perms((VIEW, ERASE))

    def change_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """One receipt."""
        kwargs["extra_context"] = {"title": "Receipt of an erasure", "subtitle": None}
        return super().change_view(*args, **kwargs)

    @admin.display(description="Asked", ordering="asked_at")
    def shown_asked(self, row: ErasureRequest) -> str:
        """When it was asked for."""
        return shown.moment(row.asked_at)

    @admin.display(description="Done", ordering="done_at")
    def shown_done(self, row: ErasureRequest) -> str:
        """When nothing was found any more."""
        return shown.moment(row.done_at, "not yet")

    @admin.display(description="State", ordering="state")
    def shown_state(self, row: ErasureRequest) -> str:
        """How far it is, as a sentence's part."""
        return _STATES.get(row.state, row.state)

    @admin.display(description="Caller")
    def shown_whose(self, row: ErasureRequest) -> str:
        """The keyed hash, with a link while there is a memory of that number."""
        found = Caller.objects.filter(key_hash=row.caller_hash).values_list("pk", flat=True).first()
        if found is None:
            return self.shown_caller(row)
        return format_html('<a href="{}">{}</a>', shown.caller_url(found), self.shown_caller(row))

    @admin.display(description="Removed")
    def shown_removed_count(self, row: ErasureRequest) -> str:
        """How many rows, keys and files."""
        return f"{sum(sum(counts.values()) for counts in row.receipt.get('removed', {}).values()):,}"

    @admin.display(description="Removed")
    def shown_removed(self, row: ErasureRequest) -> str:
        """Where, and how much of what."""
        found: Mapping[str, Mapping[str, int]] = row.receipt.get("removed", {})
        rows = [(store, what, f"{count:,}") for store, counts in found.items() for what, count in counts.items()]
        if not rows:
            return "nothing was there"
        body = format_html_join("", '<tr><td>{}</td><td>{}</td><td class="num">{}</td></tr>', rows)
        return format_html(
            '<table class="figures"><thead><tr><th scope="col">Store</th><th scope="col">What</th>'
            '<th scope="col" class="num">Removed</th></tr></thead><tbody>{}</tbody></table>',
            body,
        )

    @admin.display(description="Searched afterwards")
    def shown_searched(self, row: ErasureRequest) -> str:
        """How much was looked at."""
        found: Mapping[str, int] = row.receipt.get("searched", {})
        return ", ".join(f"{count:,} {what}" for what, count in found.items()) or "not yet"

    @admin.display(description="Found afterwards")
    def shown_left(self, row: ErasureRequest) -> str:
        """What is left, waits, or went wrong."""
        receipt = row.receipt
        told = [f"{count:,} in {where}" for where, count in receipt.get("found", {}).items()]
        told += [f"{where}: {error}, tried again" for where, error in receipt.get("failed", {}).items()]
        if waiting := receipt.get("waiting"):
            told.append(f"{shown.plural(waiting, 'record')} still being written, erased when closed")
        if newer := receipt.get("newer"):
            told.append(f"{shown.plural(newer, 'record')} of after the erasure, which stay")
        return ", ".join(told) or ("nothing" if row.state == ErasureRequest.State.VERIFIED else "not searched yet")

    @admin.display(description="What stays")
    def shown_kept(self, row: ErasureRequest) -> str:
        """What no program here can reach."""
        kept = row.receipt.get("kept", [])
        return (
            format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((one,) for one in kept))) if kept else "–"
        )


class TombstoneAdmin(_RecordAdmin):
    """What must not come back."""

    list_title = "Tombstones"
    list_display = ("shown_at", "scope", "shown_caller", "shown_subject")
    list_display_links = None
    list_filter = ("scope",)

    @admin.display(description="Erased", ordering="at")
    def shown_at(self, row: Tombstone) -> str:
        """Until when it covers."""
        return shown.moment(row.at)

    @admin.display(description="Of what")
    def shown_subject(self, row: Tombstone) -> str:
        """The keyed hash of the conversation or fact."""
        return format_html("<code>{}</code>", row.subject[:_HASH_DIGITS]) if row.subject else "everything before then"


class AccessAdmin(_RecordAdmin):
    """Who used the memory."""

    list_title = "Accesses"
    list_display = ("shown_at", "by", "action", "outcome", "items", "shown_took", "shown_caller")
    list_display_links = None
    list_filter = ("outcome",)
    search_help_text = (
        "A caller's whole phone number, id or keyed hash; or who it was, such as operator:ann or token:crm"
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Of one caller, or by one operator or token."""
        text = search_term.replace("\x00", "").strip()
        if text.startswith(("operator:", "token:", "jwt:", "import:")):
            return queryset.filter(by=text), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="When", ordering="at")
    def shown_at(self, row: Access) -> str:
        """When it was."""
        return shown.moment(row.at)

    @admin.display(description="Took", ordering="took_ms")
    def shown_took(self, row: Access) -> str:
        """How long it took."""
        return f"{row.took_ms:,} ms"


_STATES = {
    "asked": "asked, not begun",
    "removed": "removed; the search comes when nothing is being written any more",
    "verified": "verified: a search found nothing",
    "failed": "failed, is tried again",
}


def _hashes(text: str) -> list[str]:
    """The keyed hashes that a text may mean."""
    caller_id = people.as_id(text)
    of_id = Caller.objects.filter(pk=caller_id).values_list("key_hash", flat=True) if caller_id else ()
    return [*of_id, *filter(None, (text.casefold(), people.hash_of(text)))]
