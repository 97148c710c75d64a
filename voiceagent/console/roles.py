"""Who may do what in the console: six roles, each with what the one before it has. A role is a Django group."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

#: Codename → what it allows, in the words that a refusal names.
PERMISSIONS: dict[str, str] = {
    "view_console": "Can see the console: calls, and transcripts with redaction",
    "hear_recording": "Can hear recordings",
    "see_unredacted": "Can see transcripts without redaction",
    "reveal_number": "Can reveal callers' numbers",
    "flag_call": "Can flag and annotate calls",
    "export_call": "Can export one call",
    "listen_live": "Can listen to calls in progress",
    "whisper": "Can whisper to the assistant",
    "say": "Can make the assistant say a sentence",
    "take_over": "Can take calls over and hand them back",
    "end_call": "Can end calls",
    "test_call": "Can make test calls",
    "change_memory": "Can correct, pin, add and merge memories",
    "forget_memory": "Can forget memories",
    "erase_caller": "Can erase a caller everywhere",
    "export_caller": "Can export a caller's data",
    "see_raw": "Can see raw events",
    "see_prompts": "Can see prompts and model requests",
    "operate_breakers": "Can operate breakers, processes and tasks",
    "run_replay": "Can replay calls",
    "export_bulk": "Can export lists",
    "edit_agents": "Can edit agents",
    "view_audit": "Can read the audit trail",
}

_OWN: dict[str, tuple[str, ...]] = {
    "viewer": ("view_console",),
    "reviewer": ("hear_recording", "see_unredacted", "reveal_number", "flag_call", "export_call"),
    "operator": ("listen_live", "whisper", "say", "take_over", "end_call", "test_call"),
    "memory steward": ("change_memory", "forget_memory", "erase_caller", "export_caller"),
    "engineer": ("see_raw", "see_prompts", "operate_breakers", "run_replay", "export_bulk", "edit_agents"),
    "admin": ("view_audit",),
}

#: Role → codenames of ``console``, its own and those of the roles before it.
ROLES: dict[str, tuple[str, ...]] = dict(zip(_OWN, accumulate(_OWN.values(), lambda a, b: a + b), strict=True))

#: What admins have besides: users and roles are Django's own.
ADMINS = (
    "add_user",
    "change_user",
    "view_user",
    "delete_user",
    "add_group",
    "change_group",
    "view_group",
    "delete_group",
)


def install(apps: Any) -> None:
    """Make the six groups with their permissions, as a migration does: what is there already is completed, never taken away.

    ``apps`` is a registry of models, historical or current. Permissions are made here too, since Django makes them only
    when all migrations are done.
    """
    types = apps.get_model("contenttypes", "ContentType").objects
    permissions = apps.get_model("auth", "Permission").objects
    groups = apps.get_model("auth", "Group").objects
    rights, _ = types.get_or_create(app_label="console", model="rights")
    made = {
        codename: permissions.get_or_create(codename=codename, content_type=rights, defaults={"name": name})[0]
        for codename, name in PERMISSIONS.items()
    }
    for role, codenames in ROLES.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.add(*(made[codename] for codename in codenames))
    for codename in ADMINS:
        verb, model = codename.split("_")
        of, _ = types.get_or_create(app_label="auth", model=model)
        may, _ = permissions.get_or_create(codename=codename, content_type=of, defaults={"name": f"Can {verb} {model}"})
        groups.get(name="admin").permissions.add(may)
