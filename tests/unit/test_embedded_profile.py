"""What the embedded profile fills in, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from voiceagent.conf import calls_conf, site_conf
from voiceagent.embedded import state
from voiceagent.embedded.profile import install_defaults, needs_sandbox
from voiceagent.env import Env

if TYPE_CHECKING:
    from pathlib import Path

ALL = ["CARTESIA_API_KEY", "OPENAI_API_KEY", "TWILIO_AUTH_TOKEN"]


def filled(folder: Path, **given: str) -> dict[str, str]:
    environ = {"DATA_DIR": str(folder), **given}
    install_defaults(environ)
    env = Env(environ)
    calls_conf(env)
    site_conf(env)
    env.check()
    return environ


def test_an_empty_environment_becomes_complete_and_stays_the_same(tmp_path: Path) -> None:
    first = filled(tmp_path)
    assert first == filled(tmp_path)
    assert len({first[name] for name in (*ALL, "SECRET_KEY", "CALLER_HASH_KEY", "MEMORY_KEY")}) == 6


def test_two_folders_share_no_secret(tmp_path: Path) -> None:
    one, two = state.secrets(tmp_path / "one"), state.secrets(tmp_path / "two")
    assert not set(one.values()) & set(two.values())


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ({}, ALL),
        ({"OPENAI_API_KEY": "k"}, ["CARTESIA_API_KEY", "TWILIO_AUTH_TOKEN"]),
        ({"OPENAI_API_KEY": " "}, ALL),
        ({"TWILIO_AUTH_TOKEN_FILE": "/run/secrets/t"}, ["CARTESIA_API_KEY", "OPENAI_API_KEY"]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, ["CARTESIA_API_KEY", "TWILIO_AUTH_TOKEN"]),
        (dict.fromkeys(ALL, "k"), []),
    ],
)
def test_each_vendor_is_decided_by_itself(tmp_path: Path, given: dict[str, str], served: list[str]) -> None:
    assert needs_sandbox(given) == served
    environ = {"DATA_DIR": str(tmp_path), **given}
    install_defaults(environ)
    sandbox = f"http://127.0.0.1:{state.sandbox_port(tmp_path)}"
    pointed = {
        "CARTESIA_API_KEY": environ.get("CARTESIA_BASE_URL") == sandbox,
        "OPENAI_API_KEY": environ.get("OPENAI_BASE_URL") == f"{sandbox}/v1",
        "TWILIO_AUTH_TOKEN": environ.get("TWILIO_API_BASE_URL") == sandbox,
    }
    assert [name for name, is_pointed in pointed.items() if is_pointed] == served
    assert all(environ[name] == value for name, value in given.items() if value.strip())


@pytest.mark.parametrize("given", ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN_FILE"])
def test_half_an_account_is_not_completed_with_something_made_up(tmp_path: Path, given: str) -> None:
    environ = {"DATA_DIR": str(tmp_path), given: "mine"}
    install_defaults(environ)
    assert {name for name in environ if name.startswith(("TWILIO_ACC", "TWILIO_AUTH"))} == {given}


@pytest.mark.parametrize("port", ["abc", "0", "99999", "-1", "8000x"])
def test_a_bad_port_is_the_only_mistake(tmp_path: Path, port: str) -> None:
    environ = {"DATA_DIR": str(tmp_path), "PORT": port}
    install_defaults(environ)
    env = Env(environ)
    calls_conf(env)
    site_conf(env)
    assert [problem.split()[0] for problem in env.problems] == ["PORT"]


def test_a_key_of_the_users_is_never_sent_to_a_stand_in(tmp_path: Path) -> None:
    environ = filled(tmp_path, CARTESIA_API_KEY="real")
    assert "CARTESIA_BASE_URL" not in environ


def test_ports_are_kept_and_differ(tmp_path: Path) -> None:
    names = ("postgres", "valkey", "sandbox")
    ports = [state.port(tmp_path, name) for name in names]
    assert ports == [state.port(tmp_path, name) for name in names]
    assert len(set(ports)) == 3
    assert state.new_port(tmp_path, "valkey") not in ports
    assert (tmp_path / "ports.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_state_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{half", encoding="utf-8")
    assert state.port(tmp_path, "valkey") > 0
