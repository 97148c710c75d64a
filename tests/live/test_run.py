"""`make run` as a whole: one start that is used for much, since a start takes seconds."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.live.house import ALL_KEYS, ROOT, House, environment, remove_outside
from voiceagent.embedded import state
from voiceagent.embedded.postgres import Postgres
from voiceagent.embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A product that runs, without stand-ins: all vendors have keys. Its ``.env`` has a slip, its model an end."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "env").write_text("PROT=8001\nOPENAI_MODEL=gpt-4o\n", encoding="utf-8")
    with House(folder / "data", **ALL_KEYS, ENV_FILE=str(folder / "env")) as running:
        yield running


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def eventually(check: Callable[[], bool], timeout_s: float = 30) -> bool:
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def run_again(house: House, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voiceagent.run"],
        cwd=ROOT,
        env=house.environ | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_is_alive_and_ready_and_counted(house: House) -> None:
    assert get(f"{house.url}/healthz") == (200, b"ok\n")
    status, body = get(f"{house.url}/readyz")
    answer = json.loads(body)
    assert answer["dependencies"]["database"]["ok"], answer
    assert answer["dependencies"]["redis"]["ok"], answer
    assert status == (200 if answer["ready"] else 503)
    assert b"python_gc_objects_collected_total" in get(f"{house.url}/metrics")[1]


def test_worker_and_scheduler_are_scraped_on_their_own(house: House) -> None:
    """On free ports, which the console names."""
    web, worker, scheduler = re.findall(r"http://\S+/metrics", house.shown())[:3]
    assert web == f"{house.url}/metrics"
    assert eventually(
        lambda: all(state.is_listening(int(url.split(":")[2].split("/")[0])) for url in (worker, scheduler))
    )
    for url in (worker, scheduler):
        assert b"process_cpu_seconds_total" in get(url)[1]


def test_the_console_says_where_and_how_to_log_in(house: House) -> None:
    shown = house.shown()
    password = state.secrets(house.data_dir)["operator_password"]
    assert f"{house.url}/admin/" in shown
    assert f"user operator, password {password}" in shown
    assert "Warning: PROT in .env has no effect. Did you mean PORT?" in shown
    assert "Warning: The model gpt-4o " in shown
    assert get(f"{house.url}/admin/login/")[0] == 200
    assert get(f"{house.url}/static/admin/css/base.css")[0] == 200


def test_a_second_run_on_the_same_folder_says_who_is_there(house: House) -> None:
    second = run_again(house, PORT=str(state.free_port()))
    assert second.returncode == 1
    assert house.process is not None
    assert f"process {house.process.pid}, {house.url}" in second.stderr
    assert Postgres(house.data_dir, print).answers()


def test_a_port_in_use_is_said_before_anything_is_started(house: House, tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        refused = run_again(house, DATA_DIR=str(tmp_path / "other"), PORT=str(port))
    assert refused.returncode == 1
    assert f"Port {port} is in use" in refused.stderr
    assert f"PORT={port + 1} make run" in refused.stderr
    assert not (tmp_path / "other" / "postgres").exists()


def test_every_bad_value_is_named(house: House, tmp_path: Path) -> None:
    refused = run_again(
        house,
        DATA_DIR=str(tmp_path / "other"),
        PORT="eighty",
        MAX_CALLS="0",
        OPENAI_BASE_URL="localhost:1234",
        DATABASE_URL="mysql://x",
        REDIS_URL="http://x",
        TWILIO_ACCOUNT_SID="",
    )
    assert refused.returncode == 2
    named = [line.split()[1] for line in refused.stderr.splitlines() if line.startswith("  - ")]
    assert sorted(named) == [
        "DATABASE_URL",
        "MAX_CALLS",
        "OPENAI_BASE_URL",
        "PORT",
        "REDIS_URL",
        "TWILIO_ACCOUNT_SID",
    ]
    assert refused.stdout == ""


def test_two_assignments_on_a_line_of_dotenv_stop_the_start(house: House, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("TWILIO_ACCOUNT_SID=AC1 TWILIO_AUTH_TOKEN=hidden\n", encoding="utf-8")
    refused = run_again(house, DATA_DIR=str(tmp_path / "other"), ENV_FILE=str(file))
    assert refused.returncode == 2
    assert f"{file} line 1 has a second assignment, TWILIO_AUTH_TOKEN" in refused.stderr
    assert "hidden" not in refused.stderr


@pytest.mark.long
def test_manage_py_uses_the_running_servers_and_leaves_them(house: House) -> None:
    before = Postgres(house.data_dir, print).find()
    command = [
        sys.executable,
        "manage.py",
        "shell",
        "-v0",
        "-c",
        "from django.contrib.auth.models import User; print(User.objects.get().username)",
    ]
    done = subprocess.run(command, cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["operator"], done.stderr
    assert before is not None
    assert Postgres(house.data_dir, print).find() == before


def test_a_killed_web_server_is_started_again(house: House) -> None:
    web = house.part("voiceagent.web")
    web.kill()
    house.wait_for("web ended (killed by SIGKILL)")
    house.wait_for("web runs again.")
    assert _answers(house)


def test_a_webhook_that_is_refused_is_seen(house: House) -> None:
    assert get(f"{house.url}/twilio/voice")[0] == 403
    house.wait_for("request to /twilio/voice refused: it is not signed")


def test_killed_servers_are_started_again_under_the_same_addresses(house: House) -> None:
    for server in (Postgres(house.data_dir, print), Valkey(house.data_dir, print)):
        process = server.find()
        assert process is not None
        process.kill()
        house.wait_for(f"{server.name} had died; it runs again.")
    ready = eventually(lambda: all(d["ok"] for d in json.loads(get(f"{house.url}/readyz")[1])["dependencies"].values()))
    assert ready


@pytest.mark.long
def test_nothing_outlives_a_killed_supervisor_but_the_servers_which_the_next_adopts(house: House) -> None:
    # supervisor, web, worker with two, beat
    assert eventually(lambda: len(house.pythons()) >= 6, timeout_s=60), house.pythons()
    servers = {Postgres(house.data_dir, print).find(), Valkey(house.data_dir, print).find()}
    children = house.pythons()
    assert house.stop(signal.SIGKILL) == -signal.SIGKILL
    assert psutil.wait_procs(children, timeout=15)[1] == []
    house.start()
    assert eventually(lambda: house.shown().count("Ready after") == 2, timeout_s=90), house.shown()
    assert {Postgres(house.data_dir, print).find(), Valkey(house.data_dir, print).find()} == servers


def test_ctrl_c_stops_all_of_it_within_seconds(house: House) -> None:
    processes = house.processes()
    begun = time.monotonic()
    assert house.stop(signal.SIGINT) == 0
    assert time.monotonic() - begun < 15
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert not (house.data_dir / "run.json").exists()


@pytest.mark.long
def test_manage_py_starts_servers_and_stops_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "1"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(data_dir), capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr
        assert "Applying" in done.stdout
        assert Postgres(data_dir, print).find() is None
        assert Valkey(data_dir, print).find() is None
    finally:
        remove_outside(data_dir)


def _answers(house: House) -> bool:
    try:
        return get(f"{house.url}/healthz")[0] == 200
    except OSError:
        return False
