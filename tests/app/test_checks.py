"""System checks, each by its id."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks

from memory.conf import JwtConf
from voiceagent import checks, conf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = datetime.date(2026, 11, 1)


@dataclasses.dataclass(frozen=True)
class Entry:
    shutdown_at: datetime.date | None = None


TABLE = {
    "gone": Entry(datetime.date(2026, 10, 31)),
    "going": Entry(datetime.date(2027, 1, 1)),
    "staying": Entry(),
}


def ids(*, deploy: bool = False) -> set[str | None]:
    return {message.id for message in run_checks(tags=["voiceagent"], include_deployment_checks=deploy)}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    conf.current.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    conf.current.cache_clear()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("gone", "The model gone was shut down on 2026-10-31."),
        ("going", "The model going will be shut down on 2027-01-01."),
        ("staying", None),
        ("of somebody else", None),
    ],
)
def test_w001_a_model_with_a_shutdown_date(model: str, said: str | None) -> None:
    messages = checks.shutdown_messages("OPENAI_MODEL", model, TABLE, TODAY)
    assert [message.msg for message in messages] == ([said] if said else [])
    assert all(message.id == "voiceagent.W001" and "such as staying" in str(message.hint) for message in messages)


def test_w001_reads_the_table_of_models(environ: pytest.MonkeyPatch) -> None:
    assert "voiceagent.W001" not in ids()
    conf.current.cache_clear()
    environ.setenv("OPENAI_MODEL", "gpt-4o")
    assert "voiceagent.W001" in ids()


def test_the_second_model_is_checked_as_the_first_one_is(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OPENAI_FALLBACK_MODEL", "gpt-4o")
    environ.setenv("OPENAI_FALLBACK_BASE_URL", "http://models.example.com/v1")
    environ.setenv("OPENAI_FALLBACK_API_KEY", "k")
    conf.current.cache_clear()
    assert any("OPENAI_FALLBACK_MODEL" in str(message.hint) for message in checks.model_shutdown())
    assert any("OPENAI_FALLBACK_BASE_URL" in message.msg for message in checks.encrypted_vendors())


def test_e001_the_carrier_must_come_by_tls(settings: Any) -> None:
    settings.PUBLIC_BASE_URL = "http://voice.example"
    assert "voiceagent.E001" in ids(deploy=True)
    assert "voiceagent.E001" not in ids()
    settings.PUBLIC_BASE_URL = "https://voice.example"
    assert "voiceagent.E001" not in ids(deploy=True)


def test_e002_a_pool_alone() -> None:
    pool = {"OPTIONS": {"pool": {"max_size": 4}}}
    kept = checks.pool_messages({"default": {**pool, "CONN_MAX_AGE": 60}})
    assert [message.id for message in kept] == ["voiceagent.E002"]
    assert checks.pool_messages({"default": {**pool, "CONN_MAX_AGE": 0}}) == []
    assert checks.pool_messages({"default": {"OPTIONS": {}, "CONN_MAX_AGE": 60}}) == []


@pytest.mark.parametrize(
    ("address", "is_wrong"),
    [
        ("http://models.example/v1", True),
        ("http://10.1.2.3:8000/v1", True),
        ("https://models.example/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://vllm:8000/v1", False),
    ],
)
def test_e003_keys_travel_encrypted(address: str, is_wrong: bool, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OPENAI_BASE_URL", address)
    assert ("voiceagent.E003" in ids()) == is_wrong


@pytest.mark.parametrize(
    ("address", "is_wrong"),
    [
        ("http://issuer.example.com/keys", True),
        ("https://issuer.example.com/keys", False),
        ("http://127.0.0.1:9/keys", False),
        ("http://keycloak:8080/keys", False),
    ],
)
def test_e004_an_issuers_keys_come_encrypted(address: str, is_wrong: bool, settings: Any) -> None:
    assert "voiceagent.E004" not in ids()
    settings.MCP = dataclasses.replace(settings.MCP, jwt=JwtConf("https://issuer.example.com", address, "us"))
    assert ("voiceagent.E004" in ids()) == is_wrong


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OPENAI_MODLE", "Did you mean OPENAI_MODEL?"),
        ("openai_api_key", "Did you mean OPENAI_API_KEY?"),
        ("CARTESIA_KEY", "Did you mean CARTESIA_API_KEY?"),
        ("TWILIO_SID", "Did you mean TWILIO_ACCOUNT_SID?"),
        ("MAXCALLS", "Did you mean MAX_CALLS?"),
        ("DJANGO_SETTINGS_MODULE", "It is read before .env: set it in the environment"),
        ("OPENAI_MODEL", None),
        ("TWILIO_AUTH_TOKEN_FILE", None),
        ("OPENAI_ORG_ID", None),
        ("HTTPS_PROXY", None),
        ("AWS_SECRET_ACCESS_KEY", None),
        ("TZ", None),
    ],
)
def test_w003_a_name_that_looks_like_ours(name: str, hint: str | None) -> None:
    messages = checks.name_messages([name], conf.known_names())
    assert [(message.id, message.msg) for message in messages] == (
        [("voiceagent.W003", f"{name} in .env has no effect.")] if hint else []
    )
    assert all(str(message.hint).startswith(hint or "") for message in messages)


def test_w003_reads_the_file(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# OPENAI_MODLE=a\nexport PROT=8001\n", encoding="utf-8")
    assert "voiceagent.W003" not in ids()
    environ.setenv("ENV_FILE", str(file))
    assert [message.msg for message in run_checks(tags=["voiceagent"])] == ["PROT in .env has no effect."]


def test_w002_logging_of_personal_data(settings: Any) -> None:
    settings.LOG_PII = True
    assert "voiceagent.W002" in ids(deploy=True)
