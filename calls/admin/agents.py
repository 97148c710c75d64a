"""Agents in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Prefetch
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime

from calls.admin.readonly import STYLES, ReadOnlyMixin, pretty
from calls.forms import AgentForm, policy_fieldsets
from calls.models import Agent, AgentNumber, AgentVersion

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.forms import ModelForm
    from django.http import HttpRequest

    _NumberInline = admin.TabularInline[AgentNumber, Agent]
    _AgentAdmin = admin.ModelAdmin[Agent]
    _VersionAdmin = admin.ModelAdmin[AgentVersion]
else:
    _NumberInline = admin.TabularInline
    _AgentAdmin = _VersionAdmin = admin.ModelAdmin

_SHOWN_VERSIONS = 10


class AgentNumberInline(_NumberInline):
    """The numbers an agent answers."""

    model = AgentNumber
    extra = 1
    verbose_name = "phone number"
    verbose_name_plural = "phone numbers it answers"


class AgentAdmin(_AgentAdmin):
    """What an agent is and how it takes turns; saving makes a version."""

    class Media:
        css = STYLES

    form = AgentForm
    inlines: ClassVar = [AgentNumberInline]
    list_display = (
        "name",
        "shown_numbers",
        "language",
        "shown_model",
        "shown_version",
        "is_active",
        "updated_at",
    )
    list_filter = (
        "is_active",
        "language",
    )
    search_fields: ClassVar = ["name", "numbers__number"]
    readonly_fields: ClassVar = ["history"]
    save_on_top = True
    fieldsets: ClassVar = [
        (None, {"fields": ["name", "is_active"]}),
        ("What it says", {"fields": ["instructions", "greeting", "idle_texts", "goodbye_text"]}),
        ("Voice and model", {"fields": ["voice", "language", "model"]}),
        ("What it can do", {"fields": ["tools", "transfer_to"]}),
        *policy_fieldsets(),
        ("Versions", {"fields": ["history"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """With what the list shows of each agent."""
        newest = AgentVersion.objects.order_by("-number").defer("profile")
        return super().get_queryset(request).prefetch_related("numbers", Prefetch("versions", queryset=newest))

    def save_model(self, request: HttpRequest, obj: Agent, form: ModelForm[Agent], change: bool) -> None:
        """Remember who made the version."""
        obj.edited_by = request.user
        super().save_model(request, obj, form, change)

    @admin.display(description="Numbers")
    def shown_numbers(self, agent: Agent) -> str:
        """All numbers in one line."""
        return ", ".join(number.number for number in agent.numbers.all()) or "none"

    @admin.display(description="Model", ordering="model")
    def shown_model(self, agent: Agent) -> str:
        """The model, or that it is the server's."""
        return agent.model or "server's default"

    @admin.display(description="Version")
    def shown_version(self, agent: Agent) -> str:
        """The newest version."""
        newest = next(iter(agent.versions.all()), None)
        return f"v{newest.number}" if newest else "none"

    @admin.display(description="Latest versions")
    def history(self, agent: Agent) -> str:
        """The newest versions, who made them, and what each changed."""
        if not agent.pk:
            return "Saving makes the first one."
        newest = list(agent.versions.select_related("created_by").order_by("-number")[: _SHOWN_VERSIONS + 1])
        before = [*newest[1:], None]
        rows = format_html_join(
            "",
            '<li><a href="{}">v{}</a>, {}, {}: {}</li>',
            (
                (
                    reverse("admin:calls_agentversion_change", args=[version.pk]),
                    version.number,
                    date_format(localtime(version.created_at), "j M Y H:i"),
                    version.created_by or "the system",
                    changes(earlier, version),
                )
                for version, earlier in list(zip(newest, before, strict=True))[:_SHOWN_VERSIONS]
            ),
        )
        everything = reverse("admin:calls_agentversion_changelist") + f"?agent__id__exact={agent.pk}"
        return format_html('<ul>{}</ul><a href="{}">All versions and their calls</a>', rows, everything)


class AgentVersionAdmin(ReadOnlyMixin, _VersionAdmin):
    """Every version that a call can have run with. Read only."""

    class Media:
        css = STYLES

    list_display = (
        "__str__",
        "agent",
        "number",
        "created_at",
        "created_by",
        "call_count",
    )
    list_filter = ("agent",)
    list_select_related = (
        "agent",
        "created_by",
    )
    fields: ClassVar = ["agent", "number", "created_at", "created_by", "changed", "shown_profile"]
    readonly_fields: ClassVar = ["changed", "shown_profile"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentVersion]:
        """With the number of calls."""
        return super().get_queryset(request).annotate(calls_made=Count("calls"))

    @admin.display(description="Calls", ordering="calls_made")
    def call_count(self, version: AgentVersion) -> str:
        """How many calls ran with it, as a link to them."""
        href = reverse("admin:calls_call_changelist") + f"?agent_version__id__exact={version.pk}"
        return format_html('<a href="{}">{}</a>', href, getattr(version, "calls_made", 0))

    @admin.display(description="Changed against the version before")
    def changed(self, version: AgentVersion) -> str:
        """Names of what differs."""
        before = (
            AgentVersion.objects.filter(agent=version.agent_id, number__lt=version.number).order_by("-number").first()
        )
        return changes(before, version)

    @admin.display(description="Profile")
    def shown_profile(self, version: AgentVersion) -> str:
        """The snapshot as JSON."""
        return pretty(version.profile)


def changes(before: AgentVersion | None, version: AgentVersion) -> str:
    """Which parts of the profile differ, by name."""
    if before is None:
        return "first version"
    old, new = _flat(before.profile), _flat(version.profile)
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name) and name != "version"]
    return ", ".join(name.replace("_", " ") for name in names) or "nothing"


def _flat(profile: Any) -> dict[str, Any]:
    if not isinstance(profile, dict):
        return {}
    policy = profile.get("policy")
    return {**profile, **(policy if isinstance(policy, dict) else {}), "policy": None}
