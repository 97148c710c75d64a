"""Agents in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Prefetch
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join

from calls import timeline_page
from calls.admin import phrases, versions
from calls.admin.readonly import ReadOnlyMixin, link
from calls.forms import PHRASE_PREFIX, AgentForm, AgentNumberForm, policy_fieldsets
from calls.models import Agent, AgentNumber, AgentVersion, Call
from calls.phrase_fields import KEYS
from calls.services import editing
from calls.timeline_format import moment

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.forms import ModelForm
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

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
    form = AgentNumberForm
    extra = 1
    verbose_name = "phone number"
    verbose_name_plural = "phone numbers it answers"


class AgentAdmin(_AgentAdmin):
    """What an agent is and how it takes turns; saving makes a version."""

    form = AgentForm
    inlines: ClassVar = [AgentNumberInline]
    list_display = (
        "name",
        "shown_numbers",
        "language",
        "shown_model",
        "shown_version",
        "is_active",
        "shown_update",
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
        ("What it says", {"fields": ["instructions", "greeting", "returning_greeting", "idle_texts", "goodbye_text"]}),
        ("Voice and model", {"fields": ["voice", "language", "model"]}),
        ("What it can do", {"fields": ["tools", "transfer_to"]}),
        ("When no line is free", {"fields": ["busy_answer", "overflow_to"]}),
        (
            "What callers hear when something fails",
            {
                "fields": [PHRASE_PREFIX + key for key in KEYS],
                "description": "Recorded sentences, played without any vendor. Leave one empty for the shipped one; one of "
                "your own is recorded in the agent’s voice after saving.",
            },
        ),
        *policy_fieldsets(),
        ("Versions", {"fields": ["history"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """With what the list shows of each agent."""
        newest = AgentVersion.objects.order_by("-number").defer("profile")
        return super().get_queryset(request).prefetch_related("numbers", Prefetch("versions", queryset=newest))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "Agents", **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Agent, form: ModelForm[Agent], change: bool) -> None:
        """Remember who made the version, and say which one calls get from now on."""
        for sentence in editing.save(obj, request.user):
            self.message_user(request, sentence)

    def get_form(self, request: HttpRequest, obj: Agent | None = None, change: bool = False, **kwargs: Any) -> Any:
        """The form, with how far each phrase is below its control."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.phrase_states = phrases.states(obj) if obj else {}
        return form

    def get_urls(self) -> list[URLPattern]:
        """With the sound of each phrase."""
        view = self.admin_site.admin_view(self.phrase)
        return [path("<path:object_id>/phrase/<slug:key>/", view, name="calls_agent_phrase"), *super().get_urls()]

    def phrase(self, request: HttpRequest, object_id: str, key: str) -> HttpResponse:
        """What callers hear for a phrase; for whoever may see the agent."""
        agent = self.get_object(request, object_id)
        if not self.has_view_permission(request, agent):
            raise PermissionDenied
        return phrases.audio(request, agent, key)

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """One that has answered calls stays with them; it can be made inactive."""
        answered = obj is not None and Call.objects.filter(agent_version__agent=obj).exists()
        return not answered and super().has_delete_permission(request, obj)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Versions go with their agent, though nobody may delete one by itself."""
        rows, counts, missing, protected = super().get_deleted_objects(objs, request)
        return rows, counts, missing - {str(AgentVersion._meta.verbose_name)}, protected

    @admin.display(description="Numbers")
    def shown_numbers(self, agent: Agent) -> str:
        """All numbers in one line."""
        return ", ".join(number.number for number in agent.numbers.all()) or "none"

    @admin.display(description="Model", ordering="model")
    def shown_model(self, agent: Agent) -> str:
        """The model, or that it is the server's."""
        return agent.model or "server's default"

    @admin.display(description="Changed", ordering="updated_at")
    def shown_update(self, agent: Agent) -> str:
        """When it was saved last."""
        return moment(agent.updated_at)

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
            "<li>{}, {}, {}: {}</li>",
            (
                (
                    link(version, f"v{version.number}"),
                    moment(version.created_at),
                    version.created_by or "the system",
                    versions.names_of_changes(earlier, version),
                )
                for version, earlier in list(zip(newest, before, strict=True))[:_SHOWN_VERSIONS]
            ),
        )
        everything = reverse("admin:calls_agentversion_changelist") + f"?agent__id__exact={agent.pk}"
        return format_html('<ul>{}</ul><a href="{}">All versions and their calls</a>', rows, everything)


class AgentVersionAdmin(ReadOnlyMixin, _VersionAdmin):
    """Every version that a call can have run with. Read only."""

    list_display = (
        "__str__",
        "agent",
        "created",
        "created_by",
        "call_count",
    )
    list_filter = ("agent",)
    list_select_related = (
        "agent",
        "created_by",
    )
    fields: ClassVar = [("agent", "number", "created", "created_by"), "call_count", "changed", "profile_values", "raw"]
    readonly_fields: ClassVar = ["created", "call_count", "changed", "profile_values", "raw"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentVersion]:
        """With the number of calls."""
        return super().get_queryset(request).annotate(calls_made=Count("calls"))

    def has_delete_permission(self, request: HttpRequest, obj: AgentVersion | None = None) -> bool:
        """A number is never used twice, so no version goes without its agent."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "Versions of agents", **(extra_context or {})})

    @admin.display(description="Made", ordering="created_at")
    def created(self, version: AgentVersion) -> str:
        """When it was saved."""
        return moment(version.created_at)

    @admin.display(description="Calls", ordering="calls_made")
    def call_count(self, version: AgentVersion) -> str:
        """How many calls ran with it, as a link to them."""
        href = reverse("admin:calls_call_changelist") + f"?agent_version__id__exact={version.pk}"
        return format_html('<a href="{}">{}</a>', href, getattr(version, "calls_made", 0))

    @admin.display(description="Changed against the version before")
    def changed(self, version: AgentVersion) -> str:
        """What went and what came."""
        before = (
            AgentVersion.objects.filter(agent=version.agent_id, number__lt=version.number).order_by("-number").first()
        )
        return versions.shown_changes(before, version)

    @admin.display(description="What calls got")
    def profile_values(self, version: AgentVersion) -> str:
        """The snapshot, value by value."""
        return versions.shown_values(version)

    @admin.display(description="As stored")
    def raw(self, version: AgentVersion) -> str:
        """The snapshot as JSON, folded."""
        text = timeline_page.as_json(version.profile)
        return format_html("<details><summary>JSON</summary><pre>{}</pre></details>", text)
