"""The settings of all profiles hold together, on a real database."""

from __future__ import annotations

import pytest
import redis
from django.core.management import call_command
from django.db import connection


@pytest.mark.django_db
def test_the_database_is_postgresql_18_with_pgvector() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert int(cursor.fetchone()[0]) >= 180000
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
        assert cursor.fetchone()[0] == 1


@pytest.mark.django_db
def test_checks_find_nothing_wrong() -> None:
    call_command("check", fail_level="WARNING")


def test_redis_never_evicts_and_survives_a_crash(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.dbsize() == 0
