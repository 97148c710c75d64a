"""Callers in the admin: a list to find one by number, name or conversation; their pages are in ``pages``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.urls import path
from django.utils.html import format_html

from memory import overview, people
from memory.admin import changes, pages, shown
from memory.admin.audit import recorded
from memory.crypto import SealBroken
from memory.models import Caller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    _CallerAdmin = admin.ModelAdmin[Caller]
else:
    _CallerAdmin = admin.ModelAdmin


class AttentionFilter(admin.SimpleListFilter):
    """By what asks for an operator."""

    title = "what needs a look"
    parameter_name = "with"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        """All there are."""
        return [("disputed", "disputed facts"), ("failed", "conversations that could not be read")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Caller]) -> QuerySet[Caller]:
        """Callers with it."""
        return overview.asking_for(queryset, self.value() or "")


class CallerAdmin(shown.ReadOnlyMixin, _CallerAdmin):
    """Everybody who is remembered."""

    list_display = ("shown_number", "shown_last", "shown_first", "shown_conversations", "shown_facts", "shown_status")
    list_filter = (AttentionFilter, ("last_seen_at", admin.DateFieldListFilter))
    list_per_page = 50
    show_full_result_count = False
    actions = None
    search_fields: ClassVar = ["key_hash"]
    search_help_text = "A whole phone number, words of a name, a caller's id, or the name of a conversation (CA…)"
    ordering: ClassVar = ["-last_seen_at", "-pk"]
    change_list_template = "admin/memory/callers.html"

    def get_urls(self) -> list[URLPattern]:
        """The pages of one caller take the place of Django's form."""
        own = [
            path(f"<uuid:caller_id>/{address}", self.admin_site.admin_view(view), name=f"memory_caller_{name}")
            for name, address, view in (
                ("change", "change/", pages.caller),
                ("conversation", "conversation/<uuid:conversation_id>/", pages.conversation),
                ("enter", "enter/", changes.enter),
                ("correct", "fact/<uuid:fact_id>/correct/", changes.correct),
                ("retract", "fact/<uuid:fact_id>/retract/", changes.retract),
                ("forget", "fact/<uuid:fact_id>/forget/", changes.forget),
                ("forget_conversation", "conversation/<uuid:conversation_id>/forget/", changes.forget_conversation),
                ("keep", "keep/", changes.keep),
                ("erase", "erase/", changes.erase),
            )
        ]
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Caller]:
        """With what the list shows."""
        return overview.with_figures(super().get_queryset(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Caller], search_term: str
    ) -> tuple[QuerySet[Caller], bool]:
        """By keyed hash and word index: nothing is opened to be searched."""
        text = search_term.replace("\x00", "").strip()
        if not text:
            return queryset, False
        return overview.callers_found(queryset, text, by_name=request.user.has_perm(pages.READ)), False

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """With names for whoever may read them."""
        may_read = request.user.has_perm(pages.READ)
        return ("shown_name" if may_read else "shown_number", *self.list_display[1:])

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        """Only for whoever may read what is behind it."""
        return ["shown_name"] if request.user.has_perm(pages.READ) else None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, on record as one look."""
        context = {"title": "Callers", "nobody": not Caller.objects.exists(), **(extra_context or {})}
        with recorded(request, "list callers", needs=(pages.VIEW,)) as use:
            response = super().changelist_view(request, context)
            found = getattr(response, "context_data", None) or {}
            use.items = len(found["cl"].result_list) if "cl" in found else 0
            return response

    @admin.display(description="Caller")
    def shown_number(self, caller: Caller) -> str:
        """The end of the number."""
        return _masked(caller)

    @admin.display(description="Caller")
    def shown_name(self, caller: Caller) -> str:
        """The end of the number, and below it the name from the card."""
        return _masked(caller, with_name=True)

    @admin.display(description="Last seen", ordering="last_seen_at")
    def shown_last(self, caller: Caller) -> str:
        """When the last conversation was."""
        return shown.moment(caller.last_seen_at, "no conversation yet")

    @admin.display(description="First seen", ordering="created_at")
    def shown_first(self, caller: Caller) -> str:
        """Since when there is a memory."""
        return shown.moment(caller.created_at)

    @admin.display(description="Conversations")
    def shown_conversations(self, caller: Any) -> str:
        """How many are kept."""
        return f"{caller.conversation_count:,}"

    @admin.display(description="Facts now")
    def shown_facts(self, caller: Any) -> str:
        """How many hold."""
        return f"{caller.fact_count:,}"

    @admin.display(description="Status")
    def shown_status(self, caller: Any) -> str:
        """What is not settled."""
        told = (
            f"{caller.disputed_count} disputed" if caller.disputed_count else "",
            f"{caller.failed_count} not read: failed" if caller.failed_count else "",
            f"{caller.unread_count - caller.failed_count} being read"
            if caller.unread_count > caller.failed_count
            else "",
        )
        return ", ".join(filter(None, told)) or "settled"


def _masked(caller: Caller, *, with_name: bool = False) -> str:
    try:
        number, name = people.identity(caller, with_name=with_name)
    except SealBroken:
        return shown.SEALED
    number = shown.masked(number)
    return format_html('<span class="stack">{}</span><span class="stack">{}</span>', number, name) if name else number
