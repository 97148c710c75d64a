"""Who may reach the memory from outside, and who did."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from memory.ids import new_id
from memory.models.caller import Caller

SCOPES = (("read", "read"), ("write", "write"), ("erase", "erase"), ("admin", "admin"))


class ApiToken(models.Model):
    """A bearer token of the MCP server. Only its hash is kept; ``prefix`` is what can be shown.

    ``all_callers``, else only those in ``callers``. Requests beyond ``rate_per_minute`` are refused.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=80, unique=True)
    prefix = models.CharField(max_length=16, editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=8, choices=SCOPES))
    all_callers = models.BooleanField("every caller", default=False)
    callers = models.ManyToManyField(Caller, blank=True, related_name="tokens")
    rate_per_minute = models.PositiveIntegerField("requests a minute", default=120)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, editable=False
    )
    created_at = models.DateTimeField("issued", db_default=Now(), editable=False)
    expires_at = models.DateTimeField("expires")
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)

    class Meta:
        default_permissions = ("view", "add", "change")
        verbose_name = "API token"
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(scopes__len__gte=1), name="token_may_do_something"),
        ]

    def __str__(self) -> str:
        return self.name


class Access(models.Model):
    """One use of the memory from outside or by an operator: who, what, of whom, with which outcome. No content."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField(db_default=Now(), db_index=True)
    by = models.CharField(max_length=160, db_index=True)
    action = models.CharField(max_length=40)
    caller_hash = models.CharField(max_length=64, blank=True, db_index=True)
    outcome = models.CharField(max_length=40)
    items = models.PositiveIntegerField(default=0)
    took_ms = models.PositiveIntegerField("took (ms)", default=0)

    class Meta:
        default_permissions = ("view",)
        verbose_name = "access"
        verbose_name_plural = "accesses"
        ordering: ClassVar = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.action} by {self.by}"
