"""The production settings in a process of their own, with an environment like a real one, are close-mouthed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from voiceagent.conf import known_names

ROOT = Path(__file__).resolve().parents[3]
#: Of every secret a value that stands nowhere else.
PLANTED = {
    "SECRET_KEY": "planted-Secret0Key-" + "q8Zr2kLm5vXc7Nd0Wp4Ty6Hs9Bg1Jf3Qa7Ue5Ri2Ok8",
    "CALLER_HASH_KEY": "planted-hash-0123456789abcdef",
    "MEMORY_KEY": "planted-memory-new-0123456789abcdef,planted-memory-old-0123456789abcdef",
    "CARTESIA_API_KEY": "planted-cartesia-0123456789",
    "OPENAI_API_KEY": "planted-openai-0123456789",
    "OPENAI_FALLBACK_API_KEY": "planted-fallback-0123456789",
    "TWILIO_AUTH_TOKEN": "planted-twilio-0123456789",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20planted-otel-0123456789",
    "METRICS_TOKEN": "planted-metrics-0123456789",
    "DATABASE_URL": "postgresql://app:planted-database@127.0.0.1:9/voice",
    "REDIS_URL": "redis://:planted-redis@127.0.0.1:9/0",
}
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "voiceagent.settings.production",
    "ENV_FILE": os.devnull,
    "PUBLIC_BASE_URL": "https://voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "OPENAI_FALLBACK_MODEL": "another-model",
    "OPENAI_FALLBACK_BASE_URL": "https://models.example.com/v1",
}
#: Where a secret could get out: representations, messages, pages, logs. What is printed is all that may be read.
SPILLS = """
import django, logging, os, structlog, sys
django.setup()
from django.conf import settings
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class
from voiceagent import conf
from voiceagent.env import Env
env = Env(os.environ)
calls, site, mcp = conf.calls_conf(env), conf.site_conf(env), conf.mcp_conf(env, "https://x")
print(repr(calls), repr(site), repr(mcp))
log = structlog.get_logger("spill")
try:
    url, value = settings.REDIS_URL, settings.OPENAI_API_KEY
    raise RuntimeError(f"cannot connect to {url} with {value}")
except RuntimeError as error:
    kind, raised, trace = sys.exc_info()
    log.exception("spilt", where=settings.DATABASES["default"], said=str(error), key=settings.MEMORY_KEYS)
    logging.getLogger("exporter").error("sent %s", {"authorization": "Bearer planted-" + "otel-0123456789"})
    logging.getLogger("some.library").error("token %s", settings.METRICS_TOKEN, exc_info=True)
    request = RequestFactory().get("/", headers={"authorization": "Bearer " + settings.METRICS_TOKEN})
    page = get_exception_reporter_class(request)(request, kind, raised, trace)
    print(page.get_traceback_text())
    print(page.get_traceback_html())
"""


def run(*command: str, **environ: str) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if name not in known_names()}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**kept, **SETTINGS, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def spilt(text: str) -> list[str]:
    """The secrets that stand in a text, whole or as a password."""
    words = {"planted-database", "planted-redis", "planted-otel-0123456789", *",".join(PLANTED.values()).split(",")}
    return sorted(word for word in words if word in text)


def test_secrets_come_from_files_and_are_printed_nowhere(tmp_path: Path) -> None:
    files = {}
    for name, value in PLANTED.items():
        path = tmp_path / name
        path.write_text(value + "\n")
        files[f"{name}_FILE"] = str(path)
    code, said = run("-c", SPILLS, **files)
    assert (code, spilt(said)) == (0, []), said
    for seen in ("CallsConf(", "SiteConf(", "spilt", "token ********", "Local vars", "cannot connect to ********"):
        assert seen in said


def test_every_secret_is_planted() -> None:
    """One that is added to the configuration belongs into these tests."""
    assert {name.removesuffix("_FILE") for name in known_names() if name.endswith("_FILE")} == set(PLANTED)


def test_a_broken_configuration_names_every_variable_and_shows_no_value() -> None:
    """All mistakes at once, from the program that starts first."""
    twice = {f"{name}_FILE": "/nowhere" for name in PLANTED}
    code, said = run("-m", "voiceagent.web", **PLANTED, **twice)
    assert (code, spilt(said)) == (1, []), said
    assert all(f"{name} and {name}_FILE are both set" in said for name in PLANTED), said


def test_the_test_would_see_a_secret_that_is_printed() -> None:
    code, said = run("-c", "import os; print(os.environ['OPENAI_API_KEY'])", **PLANTED)
    assert (code, spilt(said)) == (0, ["planted-openai-0123456789"])
    assert spilt("a planted-redis b") == ["planted-redis"]
