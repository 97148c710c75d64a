"""Celery's configuration, the content policy, and production's strictness."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from celery.signals import celeryd_init
from django.conf import settings

from tests.live.house import ROOT
from voiceagent.celery import app

if TYPE_CHECKING:
    from django.test import Client

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "voiceagent.settings.production",
    "ENV_FILE": os.devnull,
    "SECRET_KEY": "of-no-value-but-long-enough-for-the-check-0123456789-abcdefghijklmnop",
    "CALLER_HASH_KEY": "of-no-value",
    "MEMORY_KEY": "of-no-value-but-thirty-two-characters",
    "CARTESIA_API_KEY": "k",
    "OPENAI_API_KEY": "k",
    "TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "TWILIO_AUTH_TOKEN": "t",
    "PUBLIC_BASE_URL": "https://voice.example",
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}


def check_production(**changes: str) -> subprocess.CompletedProcess[str]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME")} | PRODUCTION | changes
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_production_passes_the_deployment_checks() -> None:
    done = check_production()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "TWILIO_AUTH_TOKEN", "DATABASE_URL"])
def test_production_makes_up_no_secret(name: str) -> None:
    done = check_production(**{name: ""})
    assert done.returncode == 2
    assert f"{name} is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_tasks_are_json_late_limited_and_swept_for() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.task_soft_time_limit < app.conf.task_time_limit
    assert app.conf.task_time_limit < app.conf.broker_transport_options["visibility_timeout"]
    entries = [entry for entry in app.conf.beat_schedule.values() if entry["task"] == "calls.tasks.sweep"]
    assert [entry["schedule"] for entry in entries] == [15]


def test_workers_use_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = {"default": {"OPTIONS": {"pool": {"max_size": 4}, "sslmode": "require"}}}
    monkeypatch.setattr(settings, "DATABASES", databases)
    celeryd_init.send(sender="worker@here", instance=None, conf=app.conf, options={})
    assert databases == {"default": {"OPTIONS": {"sslmode": "require"}}}


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_the_bare_address_leads_to_the_console(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/")


@pytest.mark.django_db
def test_the_content_policy_is_enforced_and_allows_nothing_unsafe(client: Client) -> None:
    policy = client.get("/admin/login/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
