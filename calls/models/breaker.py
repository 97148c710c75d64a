"""A name for circuit breakers in the admin and its permissions. They have no table: ``calls.breakers`` keeps them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class CircuitBreaker(models.Model):
    """What a permission and an entry of the admin's log are about; ``name`` is ``vendor.operation``."""

    name = models.CharField(max_length=40, primary_key=True)

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions: ClassVar = [("operate_breakers", "Can trip and reset circuit breakers")]

    def __str__(self) -> str:
        return self.name
