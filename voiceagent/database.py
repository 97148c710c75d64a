"""``DATABASE_URL`` to Django's settings, by psycopg's own parser, with a connection pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from voiceagent.env import Env

_DJANGO_NAMES = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}


def database_url(env: Env) -> str:
    """``DATABASE_URL``; one that is no PostgreSQL address is a mistake, said without the password in it."""
    url = env.secret("DATABASE_URL")
    if url and not _parse(url):
        env.refuse("DATABASE_URL must be an address such as postgresql://user:password@host:5432/name")
    return url


def database(url: str, pool_size: int) -> dict[str, Any]:
    """Settings of one database; a ``pool_size`` of 0 means no pool (Celery's workers see to that themselves)."""
    settings: dict[str, Any] = {
        # Counts and times queries on the way to the PostgreSQL back end.
        "ENGINE": "django_prometheus.db.backends.postgresql",
        "CONN_MAX_AGE": 0,  # the pool keeps connections; anything else leaks them under ASGI
        "CONN_HEALTH_CHECKS": True,
        # A server that does not answer must not hold a call's database threads for minutes.
        "OPTIONS": {"connect_timeout": 5},
    }
    for key, value in _parse(url).items():
        if key in _DJANGO_NAMES:
            settings[_DJANGO_NAMES[key]] = value
        else:
            settings["OPTIONS"][key] = value
    if pool_size:
        settings["OPTIONS"]["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 5, "max_lifetime": 1800}
    return settings


def _parse(url: str) -> dict[str, Any]:
    """What psycopg reads in the address; empty where it is none."""
    if not url.startswith(("postgres://", "postgresql://")):
        return {}
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return {}
