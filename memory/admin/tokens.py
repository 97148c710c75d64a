"""Tokens of the MCP server in the admin: issued with a secret that is shown once, revoked, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Count
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.views.decorators.cache import never_cache

from memory import people
from memory.admin import shown
from memory.admin.audit import recorded
from memory.admin.forms import TokenForm
from memory.crypto import SealBroken
from memory.models import ApiToken
from memory.services import tokens

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    _TokenAdmin = admin.ModelAdmin[ApiToken]
else:
    _TokenAdmin = admin.ModelAdmin

ISSUE, REVOKE = "memory.add_apitoken", "memory.change_apitoken"
_SHOWN_CALLERS = 20


class TokenAdmin(shown.ReadOnlyMixin, _TokenAdmin):
    """Who else may reach the memory."""

    list_display = (
        "name", "shown_scopes", "shown_callers", "shown_rate", "shown_state", "shown_used", "shown_expiry", "shown_by",
    )  # fmt: skip
    list_select_related = ("created_by",)
    list_per_page = 50
    show_full_result_count = False
    actions = None
    search_fields: ClassVar = ["name", "=prefix"]
    search_help_text = "A part of the name, or the beginning that is shown of the secret"
    fields: ClassVar = [
        "name", "shown_prefix", "shown_scopes", "shown_reach", "shown_rate", "shown_state", "shown_expiry", "shown_used",
        "shown_issue",
    ]  # fmt: skip
    readonly_fields: ClassVar = [
        "shown_prefix", "shown_scopes", "shown_reach", "shown_rate", "shown_state", "shown_expiry", "shown_used",
        "shown_issue",
    ]  # fmt: skip
    change_form_template = "admin/memory/record.html"

    def get_urls(self) -> list[URLPattern]:
        """With a page that revokes."""
        view = self.admin_site.admin_view(self.revoke)
        return [path("<uuid:token_id>/revoke/", view, name="memory_apitoken_revoke"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may issue."""
        return request.user.has_perm(ISSUE)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """With the number of callers."""
        return super().get_queryset(request).annotate(caller_count=Count("callers"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "API tokens", **(extra_context or {})})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Issue a token: the answer to the form shows the secret, and no other page ever does."""
        return never_cache(self._issue)(request)

    def _issue(self, request: HttpRequest) -> HttpResponse:
        form = TokenForm(request.POST if request.method == "POST" else None, user=request.user)
        row, secret = None, ""
        with recorded(request, "issue token", needs=(ISSUE,)) as use:
            if form.is_valid():
                values = form.cleaned_data
                try:
                    row, secret = tokens.issue(
                        values["name"],
                        values["scopes"],
                        values["reached"],
                        form.expires_at(),
                        request.user,
                        rate_per_minute=values["rate_per_minute"],
                    )
                    use.items = 1
                except IntegrityError:
                    form.add_error("name", "There is a token of this name already.")
                except ValueError as error:
                    form.add_error(None, f"{error}.")
            if row is None:
                use.outcome = "invalid" if request.method == "POST" else "asked"
        context = {"title": "Issue a token", "opts": ApiToken._meta, "form": form, "token": row, "secret": secret}
        return render(request, "admin/memory/issue.html", {**self.admin_site.each_context(request), **context})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What a token may."""
        row = self.get_object(request, object_id)
        may = row is not None and row.revoked_at is None and request.user.has_perm(REVOKE)
        context = {"title": "API token", "subtitle": None, "may_revoke": may, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def revoke(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        """End a token at once."""
        address = reverse("admin:memory_apitoken_change", args=[token_id])
        with recorded(request, "revoke token", needs=(REVOKE,)) as use:
            row = ApiToken.objects.filter(pk=token_id).first()
            if row is None:
                use.outcome = "absent"
                messages.error(request, "There is no such token.")
                return HttpResponseRedirect(reverse("admin:memory_apitoken_changelist"))
            if request.method != "POST":
                use.outcome = "asked"
                context = {"title": "Revoke a token", "opts": ApiToken._meta, "token": row, "token_url": address}
                return render(request, "admin/memory/revoke.html", {**self.admin_site.each_context(request), **context})
            if tokens.revoke(token_id, timezone.now()):
                use.items = 1
                messages.success(request, f"Revoked: {row.name}. Its next request is refused.")
            else:
                use.outcome = "absent"
                messages.warning(request, f"{row.name} was revoked before.")
        return HttpResponseRedirect(address)

    @admin.display(description="Secret begins with")
    def shown_prefix(self, token: ApiToken) -> str:
        """What is kept of the secret to tell it by."""
        return format_html("<code>{}…</code>", token.prefix)

    @admin.display(description="May")
    def shown_scopes(self, token: ApiToken) -> str:
        """What it may do."""
        return ", ".join(token.scopes)

    @admin.display(description="Callers")
    def shown_callers(self, token: Any) -> str:
        """Whose memory it reaches, in a figure."""
        return "every caller" if token.all_callers else shown.plural(token.caller_count, "caller")

    @admin.display(description="Reaches")
    def shown_reach(self, token: ApiToken) -> str:
        """Whose memory it reaches, with links."""
        if token.all_callers:
            return "every caller"
        rows = list(token.callers.all()[: _SHOWN_CALLERS + 1])
        links = format_html_join("", '<li><a href="{}">{}</a></li>', map(_linked, rows[:_SHOWN_CALLERS]))
        more = "and more" if len(rows) > _SHOWN_CALLERS else ""
        return format_html("<ul>{}</ul>{}", links, more) if rows else "nobody: its callers were erased"

    @admin.display(description="Requests a minute")
    def shown_rate(self, token: ApiToken) -> str:
        """What is let through."""
        return f"{token.rate_per_minute:,}"

    @admin.display(description="State")
    def shown_state(self, token: ApiToken) -> str:
        """Whether it counts."""
        if token.revoked_at is not None:
            return format_html("revoked {}", shown.moment(token.revoked_at))
        return "expired" if token.expires_at <= timezone.now() else "valid"

    @admin.display(description="Last used", ordering="last_used_at")
    def shown_used(self, token: ApiToken) -> str:
        """To the minute."""
        return shown.moment(token.last_used_at, "never")

    @admin.display(description="Expires", ordering="expires_at")
    def shown_expiry(self, token: ApiToken) -> str:
        """Its end."""
        return shown.moment(token.expires_at)

    @admin.display(description="Issued by", ordering="created_by__username")
    def shown_by(self, token: ApiToken) -> str:
        """The user, if there still is one."""
        return str(token.created_by or "a command")

    @admin.display(description="Issued")
    def shown_issue(self, token: ApiToken) -> str:
        """When and by whom."""
        return format_html("{} by {}", shown.moment(token.created_at), token.created_by or "a command")


def _linked(row: Any) -> tuple[str, str]:
    try:
        number = shown.number(people.opened(row), whole=False)
    except SealBroken:
        number = shown.SEALED
    return shown.caller_url(row.pk), number
