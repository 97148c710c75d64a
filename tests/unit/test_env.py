"""Typed readers of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voiceagent.conf import calls_conf, site_conf
from voiceagent.database import database
from voiceagent.env import Env, EnvError, load_dotenv

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
COMPLETE = {
    "SECRET_KEY": "s",
    "CALLER_HASH_KEY": "c",
    "CARTESIA_API_KEY": "k",
    "OPENAI_API_KEY": "k",
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "t",
    "PUBLIC_BASE_URL": "https://voice.example/",
    "DATABASE_URL": "postgresql://u:p@h:5433/d?sslmode=require",
    "REDIS_URL": "redis://:p@h:6379/0",
}


def problem(read: Callable[[Env], Any], **environ: str) -> str:
    env = Env(environ)
    read(env)
    with pytest.raises(EnvError) as caught:
        env.check()
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda env: env.integer("X", 5, 1, 10), "7", 7),
        (lambda env: env.integer("X", 5, 1, 10), " 10 ", 10),
        (lambda env: env.integer("X", 5, 1, 10), "", 5),
        (lambda env: env.flag("X", default=False), "Yes", True),
        (lambda env: env.flag("X", default=True), "off", False),
        (lambda env: env.words("X", []), "a, b,,c ", ["a", "b", "c"]),
        (lambda env: env.choice("X", "a", ("a", "b")), "b", "b"),
        (lambda env: env.url("X"), "https://h:1/v1/", "https://h:1/v1"),
        (lambda env: env.url("X", bare=True), "http://h/", "http://h"),
        (lambda env: env.secret("X"), "s", "s"),
    ],
)
def test_good_values(read: Callable[[Env], Any], value: str, expected: object) -> None:
    env = Env({"X": value})
    assert read(env) == expected
    env.check()


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (lambda env: env.integer("X", 5, 1, 10), "0", "X must be a whole number from 1 to 10, not '0'"),
        (lambda env: env.integer("X", 5, 1, 10), "1.5", "X must be a whole number from 1 to 10, not '1.5'"),
        (lambda env: env.flag("X", default=False), "maybe", "X must be one of 1, true, yes, on, 0, false, no, off"),
        (lambda env: env.choice("X", "a", ("a", "b")), "c", "X must be one of a, b, not 'c'"),
        (lambda env: env.url("X"), "h:80", "X must be an address such as http://host or https://host, not 'h:80'"),
        (lambda env: env.url("X"), "http://h:99999", "X must be an address"),
        (lambda env: env.url("X"), "http:// h", "X must be an address"),
        (lambda env: env.url("X", bare=True), "http://h/v1", "without a path"),
        (lambda env: env.text("X"), "", "X is missing"),
        (lambda env: env.secret("X"), " ", "X is missing"),
        (lambda env: env.secret_url("X", ("redis",)), "http://h", "X must be an address such as redis://host"),
    ],
)
def test_bad_values_are_named_with_what_they_should_be(read: Callable[[Env], Any], value: str, said: str) -> None:
    assert said in problem(read, X=value)


def test_all_mistakes_are_reported_at_once() -> None:
    env = Env({"PORT": "x", "MAX_CALLS": "-1", "OPENAI_API": "telepathy"})
    calls_conf(env)
    site_conf(env)
    with pytest.raises(EnvError) as caught:
        env.check()
    text = str(caught.value)
    for name in ("PORT", "MAX_CALLS", "OPENAI_API ", "SECRET_KEY", "TWILIO_AUTH_TOKEN", "DATABASE_URL", "REDIS_URL"):
        assert f"  - {name}" in text


@pytest.mark.parametrize("name", [name for name in COMPLETE if name != "PUBLIC_BASE_URL"])
def test_no_secret_has_a_default(name: str) -> None:
    env = Env({key: value for key, value in COMPLETE.items() if key != name})
    calls_conf(env)
    site_conf(env)
    with pytest.raises(EnvError, match=f"{name} is missing"):
        env.check()


def test_a_complete_environment_is_read() -> None:
    env = Env(COMPLETE | {"MAX_CALLS": "7"})
    calls, site = calls_conf(env), site_conf(env)
    env.check()
    assert calls.limits.max_calls == 7
    assert calls.twilio.stream_url == "wss://voice.example/twilio/stream"
    assert (site.port, site.bind_host, site.debug) == (8000, "127.0.0.1", False)
    assert "p@h" not in repr(site)


def test_secrets_never_stand_in_a_message() -> None:
    hidden = "hunter2"
    assert hidden not in problem(lambda env: env.secret_url("REDIS_URL", ("redis",)), REDIS_URL=f"http://:{hidden}@h")
    assert hidden not in problem(lambda env: database(env, f"mysql://u:{hidden}@h/d", 0))
    assert hidden not in problem(lambda env: database(env, f"postgresql://u:{hidden}@h:port/d?nonsense=1", 0))


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from file\n", encoding="utf-8")
    assert Env({"X_FILE": str(file)}).secret("X") == "from file"
    assert "both set" in problem(lambda env: env.secret("X"), X="a", X_FILE=str(file))
    assert "X_FILE must name a readable text file" in problem(lambda env: env.secret("X"), X_FILE=str(tmp_path))
    file.write_text("\n", encoding="utf-8")
    assert "empty file" in problem(lambda env: env.secret("X"), X_FILE=str(file))


def test_dotenv_fills_gaps_only(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('A=1\nB="two words"\nC=\nexport D=4 # why\n', encoding="utf-8")
    environ = {"A": "mine", "B": ""}
    load_dotenv(file, environ)
    assert environ == {"A": "mine", "B": "two words", "D": "4"}
    load_dotenv(tmp_path / "absent", environ)
    assert len(environ) == 3


def test_a_database_address_becomes_settings() -> None:
    settings = database(Env({}), "postgresql://u:p%40ss@h:5433/d?sslmode=require", pool_size=4)
    assert [settings[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")] == ["h", "5433", "u", "p@ss", "d"]
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert settings["OPTIONS"]["pool"]["max_size"] == 4
    assert settings["CONN_MAX_AGE"] == 0
    assert "pool" not in database(Env({}), "postgresql://h/d", pool_size=0)["OPTIONS"]


class Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: object = None) -> Any:
        """Remember, and have nothing."""
        self.asked.add(key)
        return default


def test_the_documentation_names_every_variable_and_no_other() -> None:
    recorder = Recorder()
    env = Env(recorder)
    calls_conf(env)
    site_conf(env)
    rows = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    documented = {row.split("`")[1] for row in rows if row.startswith("| `")}
    assert documented == {name for name in recorder.asked if not name.endswith("_FILE")}
