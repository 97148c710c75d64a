"""Users and groups in Django's admin: nobody gives, or takes, what they have not got themselves.

Django lets whoever may change users make themself a superuser. Here superuser status is superusers' alone to give; and a user or
a group is changed only by somebody who has every permission that it has, of those that they may give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    _UserAdmin = UserAdmin[User]
else:
    _UserAdmin = UserAdmin


def given_by(user: Any) -> QuerySet[Permission]:
    """The permissions that a user has, and so may give; of somebody who is not active too."""
    if user.is_superuser:
        return Permission.objects.all()
    return Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct()


def is_within(user: Any, found: Any) -> bool:
    """Whether a user has everything that another user or a group has. A superuser has more than anybody else."""
    if user.is_superuser:
        return True
    if isinstance(found, User):
        return not found.is_superuser and not given_by(found).exclude(pk__in=given_by(user)).exists()
    return not found.permissions.exclude(pk__in=given_by(user)).exists()


class _Within:
    """What both have in common."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """And of this one only with all of its own."""
        allowed: bool = super().has_change_permission(request, obj)  # type: ignore[misc]
        return allowed and (obj is None or is_within(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The same."""
        allowed: bool = super().has_delete_permission(request, obj)  # type: ignore[misc]
        return allowed and (obj is None or is_within(request.user, obj))

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        """Only what one has oneself can be chosen."""
        if db_field.name in ("permissions", "user_permissions"):
            kwargs["queryset"] = given_by(request.user).select_related("content_type").order_by(*_ORDER)
        elif db_field.name == "groups":
            beyond = Permission.objects.exclude(pk__in=given_by(request.user))
            kwargs["queryset"] = Group.objects.exclude(permissions__in=beyond).order_by("name")
        return super().formfield_for_manytomany(db_field, request=request, **kwargs)  # type: ignore[misc]


_ORDER = ("content_type__app_label", "content_type__model", "codename")


class OurUserAdmin(_Within, _UserAdmin):
    """Users."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A superuser is made by a superuser."""
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser")


class OurGroupAdmin(_Within, GroupAdmin):
    """Groups, which are the roles."""


def install() -> None:
    """In place of Django's own."""
    admin.site.unregister([User, Group])
    admin.site.register(User, OurUserAdmin)
    admin.site.register(Group, OurGroupAdmin)
