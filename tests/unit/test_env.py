"""Typed readers of the environment."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from voiceagent import conf
from voiceagent.conf import HouseConf, calls_conf, known_names, mcp_conf, site_conf
from voiceagent.database import database, database_url
from voiceagent.dotenv_file import load_dotenv, names_in
from voiceagent.env import Env, EnvError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
COMPLETE = {
    "SECRET_KEY": "s",
    "CALLER_HASH_KEY": "c",
    "MEMORY_KEY": "m" * 32,
    "CARTESIA_API_KEY": "k",
    "OPENAI_API_KEY": "k",
    "TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
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
        (lambda env: env.token("X"), "s-~!", "s-~!"),
        (lambda env: env.url("X", query=True), "https://h/keys?x=1", "https://h/keys?x=1"),
        (lambda env: env.networks("X", []), "10.0.0.0/8,::1", ["10.0.0.0/8", "::1"]),
        (lambda env: env.host("X", "h"), "10.0.0.1", "10.0.0.1"),
        (lambda env: env.host("X", "h"), "::", "::"),
        (lambda env: env.host("X", "h"), "node-1.example.com", "node-1.example.com"),
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
        (lambda env: env.url("X"), "http://u:pw@h/v1", "X must be an address such as http://host or https://host"),
        (lambda env: env.url("X"), "http://h/v1?x=1", "X must be an address"),
        (lambda env: env.url("X", query=True), "http://h/v1#y", "X must be an address"),
        (lambda env: env.path("X", Path("y")), "~nobody-is-called-this/x", "X must be a path, not '~nobody"),
        (lambda env: env.shaped("X", "AC[0-9]", "AC and a digit"), "AC12", "X must be AC and a digit, not 'AC12'"),
        (lambda env: env.word("X"), "x y", "X must be one word without spaces, not 'x y'"),
        (lambda env: env.token("X"), "é", "X must be visible ASCII characters without spaces"),
        (lambda env: env.token("X"), "a b", "X must be visible ASCII characters without spaces"),
        (lambda env: env.networks("X", []), "0.0.0.0/0", "X must be IP addresses or networks"),
        (lambda env: env.networks("X", []), "10.0.0.1,::/0", "X must be IP addresses or networks"),
        (lambda env: env.networks("X", []), ",", "X must be IP addresses or networks"),
        (lambda env: env.host("X", "h"), "256.1.1.1", "X must be an IP address or a host name, not '256.1.1.1'"),
        (lambda env: env.host("X", "h"), "h:80", "X must be an IP address or a host name"),
        (lambda env: env.text("X"), "", "X is missing"),
        (lambda env: env.secret("X"), " ", "X is missing"),
        (lambda env: env.secret_url("X", ("redis",)), "http://h", "X must be an address such as redis://host"),
    ],
)
def test_bad_values_are_named_with_what_they_should_be(read: Callable[[Env], Any], value: str, said: str) -> None:
    assert said in problem(read, X=value)


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "pw" not in problem(calls_conf, **COMPLETE, OPENAI_BASE_URL="http://user:pw@host/v1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"WORKER_METRICS_PORT": "8000"}, "WORKER_METRICS_PORT must be another port than PORT, which is 8000 too"),
        ({"SCHEDULER_METRICS_PORT": "9808"}, "SCHEDULER_METRICS_PORT must be another port than WORKER_METRICS_PORT"),
    ],
)
def test_no_two_listen_on_one_port(changes: dict[str, str], said: str) -> None:
    assert said in problem(site_conf, **COMPLETE, **changes)
    env = Env(COMPLETE | {"WORKER_METRICS_PORT": "0", "SCHEDULER_METRICS_PORT": "0"})  # nowhere
    site_conf(env)
    env.check()


def test_all_mistakes_are_reported_at_once() -> None:
    env = Env({"PORT": "x", "MAX_CALLS": "-1", "OPENAI_API": "telepathy"})
    calls_conf(env)
    site_conf(env)
    with pytest.raises(EnvError) as caught:
        env.check()
    text = str(caught.value)
    for name in ("PORT", "MAX_CALLS", "OPENAI_API ", "SECRET_KEY", "TWILIO_AUTH_TOKEN", "DATABASE_URL", "REDIS_URL"):
        assert f"  - {name}" in text


def test_no_reader_is_forgotten() -> None:
    readers = {name for name, _ in inspect.getmembers(conf, inspect.isfunction) if re.fullmatch(r"[a-z]+_conf", name)}
    assert readers == {f"{field.name}_conf" for field in fields(HouseConf)} | {"house_conf"}


@pytest.mark.parametrize("odd", ["/proc/nope", "/dev/null/x", "~nobody-is-called-this/x"])
@pytest.mark.parametrize("command", [["-m", "voiceagent.run"], ["manage.py", "migrate"]], ids=["run", "manage"])
def test_a_folder_that_cannot_be_made_is_a_mistake_like_any_other(odd: str, command: list[str], tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    environ = {name: value for name, value in os.environ.items() if name not in known_names()}
    environ.pop("DJANGO_SETTINGS_MODULE", None)
    environ |= {"DATA_DIR": odd, "ENV_FILE": str(tmp_path / "env")}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()[1:]
    assert line.startswith(f"  - DATA_DIR must be a folder that can be made and written to, not '{odd}': ")


def test_a_start_names_every_mistake_before_anything_is_started(tmp_path: Path) -> None:
    mistakes = {
        "PORT": "x",
        "MAX_CALLS": "-1",
        "MCP_RATE_PER_MINUTE": "0",
        "TRACE_CALLS_SHARE": "1.5",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "novalue",
    }
    (tmp_path / "env").touch()
    kept = {name: value for name, value in os.environ.items() if name not in known_names()}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    environ = kept | mistakes | {"DATA_DIR": str(tmp_path / "var"), "ENV_FILE": str(tmp_path / "env")}
    done = subprocess.run(
        [sys.executable, "-m", "voiceagent.run"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert {line.split()[1] for line in done.stderr.splitlines()[1:]} == set(mistakes)
    assert "novalue" not in done.stderr


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
    for address in (f"mysql://u:{hidden}@h/d", f"postgresql://u:{hidden}@h:port/d?nonsense=1"):
        assert hidden not in problem(database_url, DATABASE_URL=address)


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


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"TWILIO_ACCOUNT_SID={SECRET} TWILIO_AUTH_TOKEN={SECRET}", "a second assignment, TWILIO_AUTH_TOKEN: put each"),
        (f'TWILIO_ACCOUNT_SID="{SECRET}" TWILIO_AUTH_TOKEN="{SECRET}"', "a second assignment, TWILIO_AUTH_TOKEN"),
        (f"export PORT={SECRET} export MAX_CALLS={SECRET}", "a second assignment, MAX_CALLS"),
        (f"PORT={SECRET};MAX_CALLS={SECRET}", "a second assignment, MAX_CALLS"),
        (f"PORT={SECRET}, MAX_CALLS={SECRET}", "a second assignment, MAX_CALLS"),
        (f"OPENAI API KEY={SECRET}", "cannot be read: it must be NAME=value"),
        (f"SECRET_KEY='{SECRET}", "cannot be read: it must be NAME=value"),
        ("OPENAI_API_KEY", "has OPENAI_API_KEY without a value: it must be NAME=value"),
    ],
)
def test_a_line_of_dotenv_is_one_assignment(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# A comment\n\nA=1\n\n{line}\nB=2\n", encoding="utf-8")
    environ: dict[str, str] = {}
    with pytest.raises(EnvError) as caught:
        load_dotenv(file, environ)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{file} line 5 ")
    assert said in caught.value.problems[0]
    assert SECRET not in caught.value.problems[0]
    assert environ == {}


@pytest.mark.parametrize(
    "line",
    [
        "A=1 # and B=2 for others",
        'A="DEBUG=1 LOG=2"',
        "A='x; LEVEL=3'",
        "# A=1 BB=2",
        "A=postgresql://h/d?options=-c%20X=1&SSL=1",
        "A=key==",
        "A=",
    ],
)
def test_a_value_may_hold_what_looks_like_an_assignment_where_it_is_marked_so(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(line, encoding="utf-8")
    load_dotenv(file, {})


def test_the_names_in_dotenv_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\n#C=3\r\nexport B = 'x'\r\n")
    assert names_in(file) == ["A", "B"]
    assert names_in(tmp_path / "absent") == []
    file.write_bytes(b"A=\xff\xfe")
    with pytest.raises(EnvError, match="cannot be read as UTF-8 text"):
        load_dotenv(file, {})


@pytest.mark.parametrize("address", ["mysql://x", "postgresql:x", "host:5432/name", "postgresql://", "sqlite:///d.db"])
def test_a_database_that_is_not_postgresql_is_a_mistake_like_any_other(address: str) -> None:
    env = Env(COMPLETE | {"DATABASE_URL": address, "REDIS_URL": "amqp://h", "PORT": "x"})
    calls_conf(env)
    site_conf(env)
    assert [problem.split(" must be ")[0] for problem in env.problems] == ["REDIS_URL", "DATABASE_URL", "PORT"]


def test_a_redis_may_be_a_socket_of_this_machine() -> None:
    env = Env(COMPLETE | {"REDIS_URL": "unix:///run/redis.sock"})
    assert calls_conf(env).redis_url == "unix:///run/redis.sock"
    env.check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"TRACE_URL_TEMPLATE": "https://x.example/trace/"}, "TRACE_URL_TEMPLATE must have {trace_id} where"),
        ({"TRACE_URL_TEMPLATE": "x.example/{trace_id}"}, "TRACE_URL_TEMPLATE must be an address"),
        ({"CALL_PRICES": "voice=35,model=1"}, "CALL_PRICES must be pairs such as model_input=0.25"),
        ({"CALL_PRICES": "voice=cheap"}, "CALL_PRICES must be pairs"),
        ({"CALL_PRICES": "voice=-1"}, "CALL_PRICES must be pairs"),
        ({"CALL_PRICES": "voice=inf"}, "CALL_PRICES must be pairs"),
    ],
)
def test_what_the_page_of_a_call_tells_of_traces_and_prices(changes: dict[str, str], said: str) -> None:
    assert said in problem(site_conf, **COMPLETE, **changes)


def test_prices_and_the_place_of_traces_are_read() -> None:
    env = Env({**COMPLETE, "CALL_PRICES": "voice=35, line=0.01", "TRACE_URL_TEMPLATE": "https://x.example/{trace_id}"})
    site = site_conf(env)
    env.check()
    assert dict(site.call_prices) == {"voice": 35.0, "line": 0.01}
    assert site.trace_url_template == "https://x.example/{trace_id}"


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ("TWILIO_AUTH_TOKEN", "must be the token of the account TWILIO_ACCOUNT_SID"),
        ("TWILIO_ACCOUNT_SID", "must be the account that TWILIO_AUTH_TOKEN belongs to"),
    ],
)
def test_half_an_account_names_the_other_half(absent: str, said: str) -> None:
    assert f"{absent} is missing: it {said}" in problem(
        calls_conf, **{name: value for name, value in COMPLETE.items() if name != absent}
    )


@pytest.mark.parametrize("odd", ["hello", "AC1", "SK" + "1" * 32, "AC" + "g" * 32, "AC" + "1" * 33])
def test_what_is_no_account_is_refused_and_not_shown(odd: str) -> None:
    said = problem(calls_conf, **COMPLETE | {"TWILIO_ACCOUNT_SID": odd})
    expected = "the account that TWILIO_AUTH_TOKEN belongs to, AC and 32 hexadecimal digits"
    assert said == f"TWILIO_ACCOUNT_SID must be {expected}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OPENAI_FALLBACK_BASE_URL": "https://b.example/v1"}, "OPENAI_FALLBACK_MODEL is missing"),
        ({"OPENAI_FALLBACK_API_KEY": "k"}, "OPENAI_FALLBACK_MODEL is missing"),
        (
            {"OPENAI_FALLBACK_MODEL": "m", "OPENAI_FALLBACK_BASE_URL": "https://b.example/v1"},
            "OPENAI_FALLBACK_API_KEY is missing: OPENAI_API_KEY is not sent to",
        ),
        (
            {"OPENAI_FALLBACK_MODEL": "gpt-6-luna", "OPENAI_FALLBACK_BASE_URL": "https://api.openai.com/v1"},
            "OPENAI_FALLBACK_MODEL must be another model than OPENAI_MODEL",
        ),
        ({"OPENAI_FALLBACK_MODEL": "m", "OPENAI_FALLBACK_BASE_URL": "b.example"}, "OPENAI_FALLBACK_BASE_URL must be"),
    ],
)
def test_half_a_second_model_is_refused(changes: dict[str, str], said: str) -> None:
    assert said in problem(calls_conf, **COMPLETE, **changes)


def test_a_second_model_has_the_firsts_address_and_key_unless_it_has_its_own() -> None:
    def second(**changes: str) -> Any:
        env = Env({**COMPLETE, "OPENAI_API": "responses", **changes})
        read = calls_conf(env).openai.fallback
        env.check()
        return read and (read.model, read.base_url, read.api_key, read.api)

    own = {"OPENAI_FALLBACK_BASE_URL": "https://b.example/v1", "OPENAI_FALLBACK_API_KEY": "k2"}
    key = COMPLETE["OPENAI_API_KEY"]
    assert second() is None
    assert second(OPENAI_FALLBACK_MODEL="m") == ("m", "https://api.openai.com/v1", key, "responses")
    assert second(OPENAI_FALLBACK_MODEL="m", **own) == ("m", "https://b.example/v1", "k2", "chat")
    assert second(OPENAI_FALLBACK_MODEL="gpt-6-luna", **own) == ("gpt-6-luna", "https://b.example/v1", "k2", "chat")


ISSUER = {"MCP_JWT_ISSUER": "https://issuer.example.com/", "MCP_JWT_JWKS_URL": "https://issuer.example.com/keys"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MCP_JWT_JWKS_URL": ""}, "MCP_JWT_ISSUER and MCP_JWT_JWKS_URL go together"),
        ({"MCP_JWT_ISSUER": ""}, "MCP_JWT_ISSUER and MCP_JWT_JWKS_URL go together"),
        ({"MCP_JWT_ISSUER": "issuer"}, "MCP_JWT_ISSUER must be an address"),
        ({"MCP_JWT_JWKS_URL": "file:///etc/keys"}, "MCP_JWT_JWKS_URL must be an address"),
        ({"MCP_JWT_ALGORITHMS": "RS256,HS256"}, "MCP_JWT_ALGORITHMS must be some of"),
        ({"MCP_JWT_ALGORITHMS": "none"}, "MCP_JWT_ALGORITHMS must be some of"),
        ({"MCP_RATE_PER_MINUTE": "0"}, "MCP_RATE_PER_MINUTE must be"),
    ],
)
def test_an_issuer_that_makes_no_sense_is_refused(changes: dict[str, str], said: str) -> None:
    env = Env(ISSUER | changes)
    mcp_conf(env, "https://agent.example.com")
    assert any(problem.startswith(said) for problem in env.problems), env.problems


def test_an_issuer_is_taken_to_the_letter() -> None:
    env = Env(ISSUER)
    conf = mcp_conf(env, "https://agent.example.com")
    env.check()
    assert conf.jwt is not None
    assert (conf.jwt.issuer, conf.jwt.audience) == ("https://issuer.example.com/", "https://agent.example.com/mcp")
    assert mcp_conf(Env({}), "https://agent.example.com").jwt is None


def test_a_database_address_becomes_settings() -> None:
    settings = database("postgresql://u:p%40ss@h:5433/d?sslmode=require", pool_size=4)
    assert [settings[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")] == ["h", "5433", "u", "p@ss", "d"]
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert settings["OPTIONS"]["pool"]["max_size"] == 4
    assert settings["CONN_MAX_AGE"] == 0
    assert "pool" not in database("postgresql://h/d", pool_size=0)["OPTIONS"]


def test_the_documentation_names_every_variable_and_no_other() -> None:
    rows = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    documented = {
        name for row in rows if row.startswith("| `") for name in re.findall("`([A-Z_]+)`", row.split("|")[1])
    }
    assert documented == {name for name in known_names() if not name.endswith("_FILE")}


def test_bytes_that_are_no_text_are_a_mistake_of_their_variable() -> None:
    said = problem(lambda env: env.secret("DATABASE_URL"), DATABASE_URL="postgresql://\udcb1@h/n")
    assert said == "DATABASE_URL must be UTF-8 text"
