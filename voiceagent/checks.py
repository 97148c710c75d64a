"""System checks of the whole product: a wrong configuration says so at the start, not at the first call.

==================  ===================================================================
voiceagent.E001     the carrier would call over plain HTTP (deployment)
voiceagent.E002     connections kept beside a pool: they leak under ASGI
voiceagent.E003     a vendor's key would travel unencrypted beyond this machine
voiceagent.E004     an outside issuer's keys would be fetched unencrypted
voiceagent.W001     the model has a shutdown date
voiceagent.W002     callers' words and numbers go into the logs (deployment)
voiceagent.W003     ``.env`` has a variable that looks like one of ours and is none
voiceagent.W004     people sign in by password alone (deployment)
==================  ===================================================================
"""

from __future__ import annotations

import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils import timezone

from calls.providers.openai.models import MODELS
from voiceagent import conf
from voiceagent.bootstrap import env_file
from voiceagent.dotenv_file import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

_VENDOR_PREFIXES = ("CARTESIA_", "OPENAI_", "TWILIO_")
#: Not ours, but read by the vendors' own libraries.
_SDK_NAMES = frozenset({"OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "TWILIO_EDGE", "TWILIO_REGION"})
#: Read before ``.env`` is: there it would be too late.
_ENVIRONMENT_ONLY = ("DJANGO_SETTINGS_MODULE", "ENV_FILE")
#: How alike two names must be, as ``difflib`` counts it, to be taken for one another.
_ALIKE = 0.7
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})


@register("voiceagent")
def model_shutdown(**_: Any) -> list[CheckMessage]:
    """W001: a configured model is about to be shut down, or has been."""
    first, today = conf.current().openai, timezone.now().date()
    found = shutdown_messages("OPENAI_MODEL", first.model, MODELS, today)
    if first.fallback is None:
        return found
    return found + shutdown_messages("OPENAI_FALLBACK_MODEL", first.fallback.model, MODELS, today)


def shutdown_messages(name: str, model: str, table: Mapping[str, Any], today: datetime.date) -> list[CheckMessage]:
    """The warning for ``model``, which the variable ``name`` sets, if ``table`` knows a day on which it ends."""
    ends = getattr(table.get(model), "shutdown_at", None)
    if ends is None:
        return []
    day = ends.date() if isinstance(ends, datetime.datetime) else ends
    when = f"was shut down on {day}" if day <= today else f"will be shut down on {day}"
    lasting = [name for name, entry in table.items() if getattr(entry, "shutdown_at", None) is None]
    hint = f"Set {name} to another one{f', such as {lasting[0]}' if lasting else ''}."
    return [Warning(f"The model {model} {when}.", hint=hint, id="voiceagent.W001")]


@register(Tags.database, "voiceagent")
def pool_alone(**_: Any) -> list[CheckMessage]:
    """E002: the pool is the only thing that may keep connections."""
    return pool_messages(settings.DATABASES)


def pool_messages(databases: Mapping[str, Any]) -> list[CheckMessage]:
    """The errors for ``databases``, as in Django's settings."""
    return [
        Error(
            f"The database {name} has a connection pool and a CONN_MAX_AGE.",
            hint="Set CONN_MAX_AGE to 0.",
            id="voiceagent.E002",
        )
        for name, database in databases.items()
        if database.get("OPTIONS", {}).get("pool") and database.get("CONN_MAX_AGE") != 0
    ]


@register(Tags.security, "voiceagent")
def encrypted_vendors(**_: Any) -> list[CheckMessage]:
    """E003: plain HTTP to a vendor is for stand-ins on this machine or a named private network host."""
    calls = conf.current()
    addresses = {
        "CARTESIA_BASE_URL": calls.cartesia.base_url,
        "OPENAI_BASE_URL": calls.openai.base_url,
        "OPENAI_FALLBACK_BASE_URL": calls.openai.fallback.base_url if calls.openai.fallback else "",
        "TWILIO_API_BASE_URL": calls.twilio.api_base_url,
    }
    return [
        Error(
            f"{name} is plain HTTP to {urlsplit(address).hostname}: the key and the callers' words could be read.",
            hint="Use https, or a host of this machine or a name without dots, as in a container network.",
            id="voiceagent.E003",
        )
        for name, address in addresses.items()
        if address.startswith("http://") and not _is_near(urlsplit(address).hostname or "")
    ]


@register(Tags.security, "voiceagent")
def encrypted_keys(**_: Any) -> list[CheckMessage]:
    """E004: whoever can change the keys on their way can issue tokens."""
    jwt = settings.MCP.jwt
    if jwt is None or jwt.jwks_url.startswith("https://") or _is_near(urlsplit(jwt.jwks_url).hostname or ""):
        return []
    return [
        Error(
            "MCP_JWT_JWKS_URL is plain HTTP: on their way the keys could be exchanged, and tokens issued by anybody.",
            hint="Use https.",
            id="voiceagent.E004",
        )
    ]


@register(Tags.security, "voiceagent", deploy=True)
def public_address_encrypted(**_: Any) -> list[CheckMessage]:
    """E001: signatures do not hide what is said; a live carrier must come by TLS."""
    if settings.PUBLIC_BASE_URL.startswith("https://"):
        return []
    return [
        Error(
            "PUBLIC_BASE_URL is plain HTTP.",
            hint="Put a proxy with a certificate in front, and set its https address.",
            id="voiceagent.E001",
        )
    ]


@register(Tags.security, "voiceagent", deploy=True)
def quiet_logs(**_: Any) -> list[CheckMessage]:
    """W002: somebody decided to log personal data; they should know it is still on."""
    if not settings.LOG_PII:
        return []
    return [
        Warning(
            "LOG_PII is on: what callers say, and their numbers, go into the logs.",
            hint="Switch it off when the search for the fault is over.",
            id="voiceagent.W002",
        )
    ]


@register(Tags.security, "voiceagent", deploy=True)
def two_factors(**_: Any) -> list[CheckMessage]:
    """W004: a password that somebody learnt opens everything."""
    if settings.TWO_FACTORS:
        return []
    return [
        Warning(
            "TWO_FACTORS is off: a password alone lets people in.",
            hint="Remove it from the environment: it is on by default.",
            id="voiceagent.W004",
        )
    ]


@register("voiceagent")
def env_file_names(**_: Any) -> list[CheckMessage]:
    """W003: a misspelt variable is silently worth nothing."""
    return name_messages(names_in(env_file()), conf.known_names())


def name_messages(names: Iterable[str], known: Set[str]) -> list[CheckMessage]:
    """A warning for each of ``names`` that is not ``known`` and looks as if it should be."""
    return [
        Warning(f"{name} in .env has no effect.", hint=hint, id="voiceagent.W003")
        for name in names
        if name not in known | _SDK_NAMES and (hint := _name_hint(name, known))
    ]


def _name_hint(name: str, known: Set[str]) -> str:
    """What was meant; empty where the name is none of our business."""
    if name in _ENVIRONMENT_ONLY:
        return f"It is read before .env: set it in the environment, as in {name}=… make run."
    upper = name.upper()
    ours = upper.startswith(_VENDOR_PREFIXES)
    nearest = get_close_matches(upper, sorted(known), n=1, cutoff=0 if ours else _ALIKE)
    return f"Did you mean {nearest[0]}?" if nearest else ""


def _is_near(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("127.") or ("." not in host and ":" not in host)
