"""The embedded servers: first start, shared use, and every way to die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from tests.live.house import remove_outside
from voiceagent.embedded import state
from voiceagent.embedded.account import can_run, database_account
from voiceagent.embedded.postgres import Postgres
from voiceagent.embedded.servers import Servers, running
from voiceagent.embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Event
    from pathlib import Path

    import psutil


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is cleared away, also where root's PostgreSQL keeps its files."""
    data_dir = tmp_path / "data folder"
    yield data_dir
    for part in (Postgres(data_dir, print), Valkey(data_dir, print)):
        part.stop()
    remove_outside(data_dir)


def environ(folder: Path, **extra: str) -> dict[str, str]:
    return {"DATA_DIR": str(folder), **extra}


def pid_of(process: psutil.Process | None) -> int:
    assert process is not None
    return process.pid


def write_both(folder: Path, value: str) -> None:
    addresses = state.addresses(folder)
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database:
        database.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        database.execute("INSERT INTO kept VALUES (%s)", [value])
    with redis.Redis.from_url(addresses["REDIS_URL"]) as client:
        client.rpush("kept", value)


def read_both(folder: Path) -> tuple[list[str], list[str]]:
    addresses = state.addresses(folder)
    with psycopg.connect(addresses["DATABASE_URL"], autocommit=True) as database:
        rows = [row[0] for row in database.execute("SELECT value FROM kept ORDER BY value").fetchall()]
    with redis.Redis.from_url(addresses["REDIS_URL"], decode_responses=True) as client:
        return rows, sorted(client.lrange("kept", 0, -1))


def test_data_and_addresses_survive_a_stop(folder: Path) -> None:
    with running(environ(folder)):
        before = state.addresses(folder)
        write_both(folder, "one")
    assert Postgres(folder, print).find() is None
    assert Valkey(folder, print).find() is None
    with running(environ(folder)):
        assert state.addresses(folder) == before
        assert read_both(folder) == (["one"], ["one"])


def test_only_loopback_and_only_with_the_password(folder: Path) -> None:
    with running(environ(folder)):
        address = state.addresses(folder)["DATABASE_URL"]
        password = state.secrets(folder)["postgres_password"]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(address.replace(password, "wrong"))
        port = state.port(folder, "valkey")
        with redis.Redis(port=port) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        for name in ("postgres", "valkey"):
            listening = Postgres(folder, print).find() if name == "postgres" else Valkey(folder, print).find()
            assert listening is not None
            sockets = [c.laddr.ip for c in listening.net_connections() if c.status == "LISTEN"]
            assert sockets == ["127.0.0.1"]


def test_secrets_are_readable_by_their_owner_only_and_on_no_command_line(folder: Path) -> None:
    with running(environ(folder)):
        secrets = state.secrets(folder)
        assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600
        assert (folder / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o077 == 0
        for part in (Postgres(folder, print), Valkey(folder, print)):
            process = part.find()
            assert process is not None
            told = " ".join([*process.cmdline(), *process.environ().values()])
            assert not any(secret in told for secret in secrets.values())


def test_the_first_to_leave_lets_the_servers_run_and_the_last_stops_them(folder: Path) -> None:
    postgres = Postgres(folder, print)
    with running(environ(folder)):
        first = pid_of(postgres.find())
        with running(environ(folder)):
            assert pid_of(postgres.find()) == first
        assert pid_of(postgres.find()) == first
        assert postgres.answers()
    assert postgres.find() is None


def hold(folder: Path, ready: Callable[[], None]) -> None:
    with running(environ(folder)):
        ready()
        signal.pause()


@pytest.mark.long
def test_servers_of_a_killed_user_are_adopted(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    up = context.Event()
    user = context.Process(target=hold, args=(folder, up.set))
    user.start()
    assert up.wait(40)
    left = pid_of(Postgres(folder, print).find()), pid_of(Valkey(folder, print).find())
    os.kill(user.pid or 0, signal.SIGKILL)
    user.join()
    with running(environ(folder)):
        assert (pid_of(Postgres(folder, print).find()), pid_of(Valkey(folder, print).find())) == left
        write_both(folder, "after")
    assert Postgres(folder, print).find() is None


def start_and_leave(folder: Path, up: Event, joined: Event, left: Event) -> None:
    with running(environ(folder)):
        up.set()
        assert joined.wait(40)
    left.set()
    signal.pause()


@pytest.mark.long
def test_the_last_to_leave_stops_servers_whose_parent_does_not_wait_for_them(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    up, joined, left = context.Event(), context.Event(), context.Event()
    starter = context.Process(target=start_and_leave, args=(folder, up, joined, left))
    starter.start()
    try:
        assert up.wait(40)
        with running(environ(folder)):
            joined.set()
            assert left.wait(40)
        assert starter.is_alive()
        assert Postgres(folder, print).find() is None
        assert Valkey(folder, print).find() is None
    finally:
        starter.kill()
        starter.join()


def test_killed_servers_come_back_with_their_data(folder: Path) -> None:
    with running(environ(folder)) as servers:
        write_both(folder, "one")
        with redis.Redis.from_url(state.addresses(folder)["REDIS_URL"]) as client:
            client.execute_command("WAITAOF", 1, 0, 2000)
        for part in (Postgres(folder, print), Valkey(folder, print)):
            process = part.find()
            assert process is not None
            process.kill()
            process.wait(10)
        assert sorted(servers.recover()) == ["PostgreSQL", "Valkey"]
        assert read_both(folder) == (["one"], ["one"])
        assert servers.recover() == []


@pytest.mark.long
def test_a_server_that_hangs_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voiceagent.embedded.valkey.START_TIMEOUT_S", 1)
    monkeypatch.setattr("voiceagent.embedded.valkey._END", [(signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0)])
    said: list[str] = []
    with running(environ(folder)):
        hung = Valkey(folder, print).find()
        assert hung is not None
        hung.suspend()
        Valkey(folder, said.append).ensure()
        assert pid_of(Valkey(folder, print).find()) != hung.pid
        assert said == ["Valkey does not answer: starting it anew."]


@pytest.mark.long
def test_a_stranger_with_the_recorded_pid_is_left_alone(folder: Path) -> None:
    with running(environ(folder)):
        pass
    state.write_json(folder / "valkey.json", {"pid": os.getpid()})
    data = Postgres(folder, print).data
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n", encoding="utf-8")
    with running(environ(folder)):
        assert Postgres(folder, print).answers()
        assert Valkey(folder, print).answers()


@pytest.mark.long
def test_a_taken_port_is_replaced_by_a_free_one(folder: Path) -> None:
    taken = {name: state.port(folder, name) for name in ("postgres", "valkey")}
    with socket.socket() as one, socket.socket() as other:
        for held, port in ((one, taken["postgres"]), (other, taken["valkey"])):
            held.bind(("127.0.0.1", port))
            held.listen()
        with running(environ(folder)):
            assert Postgres(folder, print).answers()
            assert Valkey(folder, print).answers()
            assert not set(taken.values()) & {state.port(folder, name) for name in taken}


@pytest.mark.long
def test_a_first_start_that_was_cut_off_is_begun_again(folder: Path) -> None:
    with running(environ(folder)):
        home = Postgres(folder, print).home
    (home / "data" / "PG_VERSION").unlink()
    said: list[str] = []
    with running(environ(folder), said.append):
        assert Postgres(folder, print).answers()
    assert (home / "data.old-1").is_dir()
    assert any(str(home / "data.old-1") in line for line in said)


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ({"DATABASE_URL": "postgresql://h/d"}, {"REDIS_URL"}),
        ({"REDIS_URL": "redis://h"}, {"DATABASE_URL"}),
        ({"DATABASE_URL": "postgresql://h/d", "REDIS_URL_FILE": "/somewhere"}, set()),
    ],
)
def test_what_the_environment_names_is_not_started(folder: Path, given: dict[str, str], started: set[str]) -> None:
    assert set(Servers(folder, environ(folder, **given), print).addresses()) == started


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_runs_postgresql_as_an_account_without_rights_outside_any_home(folder: Path) -> None:
    with running(environ(folder)):
        process = Postgres(folder, print).find()
        assert process is not None
        assert 0 not in process.uids()
        assert process.gids().effective != 0
        data = Postgres(folder, print).data
        assert not data.is_relative_to("/root")
        assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_program_in_a_private_folder_is_found_out(tmp_path: Path) -> None:
    account = database_account(None, print)
    assert account is not None
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    program = private / "true"
    program.write_bytes(b"#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    assert not can_run(program, account)
