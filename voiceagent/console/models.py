"""What the console keeps of its own: who did what, saved views, notes and flags."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from calls.models import Call
from voiceagent.console.roles import PERMISSIONS


class Rights(models.Model):
    """Carries the console's permissions (``console.<codename>``); it has no table and no rows."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions: ClassVar = list(PERMISSIONS.items())

    def __str__(self) -> str:
        return "console"


class AuditEntry(models.Model):
    """One thing that somebody did, written before it was done. Neither the application nor SQL changes or removes rows.

    Names and not references: an entry outlives its user, its call and its memory. ``before`` and ``after`` say what changed
    (slots, states, ids); never a caller's words, which an erasure has to reach.
    """

    at = models.DateTimeField(db_default=Now())
    user_id = models.BigIntegerField("user's id", null=True, blank=True)
    username = models.CharField("who", max_length=150, blank=True)
    address = models.GenericIPAddressField("from", null=True, blank=True)
    action = models.CharField(max_length=40)
    call_sid = models.CharField("call", max_length=64, blank=True)
    entry = models.CharField("memory, caller or other object", max_length=100, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        default_permissions = ()
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["-at", "-id"], name="audit_newest"),
            models.Index(fields=["call_sid", "-at"], name="audit_by_call", condition=~Q(call_sid="")),
            models.Index(fields=["username", "-at"], name="audit_by_user"),
            models.Index(fields=["action", "-at"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.username} {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add it; raises ``TypeError`` for one that is there."""
        if not self._state.adding:
            raise TypeError("audit entries are not changed")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Raises ``TypeError``."""
        raise TypeError("audit entries are not removed")


class SavedView(models.Model):
    """A list as somebody wants it back: its query, columns and sort; ``screen`` is the URL name of its page."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    screen = models.CharField(max_length=40)
    name = models.CharField(max_length=80)
    query = models.TextField(blank=True)
    columns = models.JSONField(default=list, blank=True)
    sort = models.CharField(max_length=40, blank=True)
    shared = models.BooleanField(default=False)
    is_default = models.BooleanField("my default", default=False)
    changed_at = models.DateTimeField("changed", auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "screen", "name"], name="view_named_once"),
            models.UniqueConstraint(fields=["owner", "screen"], condition=Q(is_default=True), name="view_one_default"),
        ]

    def __str__(self) -> str:
        return self.name


class ListExport(models.Model):
    """A list too long to be streamed, written by the worker for its owner to fetch; file and row go after a day."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    query = models.TextField(blank=True)
    show = models.CharField(max_length=8)
    sort = models.CharField(max_length=16, blank=True)
    format = models.CharField(max_length=8)
    asked_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-asked_at"]
        default_permissions = ()
        verbose_name = "export of a list"
        verbose_name_plural = "exports of lists"

    def __str__(self) -> str:
        return f"{self.show} as {self.format}"


class _OfCall(models.Model):
    """Said about a call by an operator; goes with the call. ``at_ms`` is on the call's own clock, empty: the whole call."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="%(class)ss")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(db_default=Now())
    at_ms = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        abstract = True


class CallStory(models.Model):
    """What the page of an archived call draws, made from its log at the first look (``console.call.source``). It goes with the call."""

    call = models.OneToOneField(Call, primary_key=True, on_delete=models.CASCADE, related_name="+")
    layout = models.PositiveSmallIntegerField()
    entries = models.PositiveIntegerField()
    told = models.JSONField()

    class Meta:
        default_permissions = ()
        verbose_name_plural = "call stories"

    def __str__(self) -> str:
        return f"story of {self.call_id}"


class CallNote(_OfCall):
    """A remark on a call or on a moment of it."""

    text = models.TextField(max_length=4000)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        default_permissions = ()
        verbose_name = "note"

    def __str__(self) -> str:
        return self.text[:40]


class CallFlag(_OfCall):
    """Marks a call for others to look at, until somebody lowers it."""

    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        default_permissions = ()
        verbose_name = "flag"
        constraints: ClassVar = [models.UniqueConstraint(fields=["call"], name="flag_once_a_call")]

    def __str__(self) -> str:
        return self.reason
