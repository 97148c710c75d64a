"""The memory's commands: what they print, how they end, and what they say to input that makes no sense."""

from __future__ import annotations

import io
import json
import logging
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from memory import manager, people, selectors
from memory.management import shared
from memory.models import Caller, ErasureRequest, Utterance
from memory.services import correcting, importing
from tests.app.memory.people import DAY, JOHN, MARIA, MONDAY, maria
from tests.app.memory.test_moving import spoken

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


def run(*arguments: str) -> tuple[str, str, int]:
    """A command: what it wrote, what it complained of, its exit code."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue(), f"{err.getvalue()}{error}", error.returncode
    except SystemExit as error:
        assert isinstance(error.code, int)
        return out.getvalue(), err.getvalue(), error.code
    return out.getvalue(), err.getvalue(), 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two conversations and a fact."""
    path = tmp_path / "talks.jsonl"
    lines = [
        spoken("What may I bring you?", role="assistant"),
        spoken("Penicillin makes me break out in hives.", 1, source="D1:2"),
        spoken("We would like the table by the window.", 2, conversation="c2"),
        {**spoken("Plays the cello", 3, source="crm"), "kind": "fact"},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_a_file_is_imported_and_found_again_as_json(file: Path) -> None:
    assert run("memory_import", str(file)) == (
        "4 lines: 3 utterances and 1 facts imported, 0 known already, 0 not taken\n", "", 0,
    )  # fmt: skip

    out, err, code = run("memory_search", MARIA, "Which antibiotics must be avoided?", "--limit", "3", "--json")

    hits = [json.loads(line) for line in out.splitlines()]
    assert (err, code, len(hits)) == ("", 0, 3)
    for hit in hits:
        assert list(hit) == ["id", "text", "kind", "said_at", "source", "score", "in_prompt"]
    assert (hits[0]["text"], hits[0]["kind"]) == ("Penicillin makes me break out in hives.", "utterance")
    assert (hits[0]["source"], hits[0]["said_at"]) == ("D1:2", "2026-03-02T12:01:00+00:00")
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    by_kind = {hit["kind"]: hit for hit in json_hits(MARIA, "cello")}
    assert by_kind["fact"]["source"] == "crm"
    person = people.find(MARIA)
    assert person is not None
    assert json_hits(str(person.id), "cello") == json_hits(MARIA, "cello")
    assert "Plays the cello" in run("memory_search", MARIA, "cello")[0]


def json_hits(caller: str, query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("memory_search", caller, query, "--json")[0].splitlines()]


def test_a_broken_line_is_named_and_the_exit_code_says_so(file: Path) -> None:
    file.write_text(file.read_text() + "{broken\n" + json.dumps(spoken("the last one", 9)) + "\n")

    out, err, code = run("memory_import", str(file))

    assert out == "6 lines: 4 utterances and 1 facts imported, 0 known already, 1 not taken\n"
    assert err.startswith("line 5: the line is not JSON")
    assert code == 1


def test_a_long_import_tells_a_log_how_far_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 1)
    seconds = iter([100.0, 105.0, 111.0, *[112.0] * 10])
    monkeypatch.setattr("memory.management.commands.memory_import.monotonic", lambda: next(seconds))

    _, err, code = run("memory_import", str(file))

    assert (err, code) == ("line 3\n", 0)


def test_a_file_of_another_kind_does_not_flood_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "not.jsonl"
    path.write_text("nonsense\n" * 1200)

    _, err, code = run("memory_import", str(path))

    assert (len(err.splitlines()), code) == (51, 2)
    assert err.splitlines()[-1] == "more lines are broken; the first are named"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["memory_import", "/no/such/file.jsonl"], "No such file or directory"),
        (["memory_import", "/"], "Is a directory"),
        (["memory_search", JOHN, "tea"], "there is no caller with this number or id"),
        (["memory_search", "", "tea"], "there is no caller with this number or id"),
        (["memory_search", MARIA, ""], "the query is empty"),
        (["memory_search", MARIA, "  \x00 "], "the query is empty"),
        (["memory_search", MARIA, "x" * 100_001], "the query has 100001 characters"),
        (["memory_search", MARIA, "tea", "--limit", "0"], "--limit must be 1 or more"),
        (["memory_export", JOHN], "there is no caller with this number or id"),
        (["memory_export", MARIA, "--out", "/no/such/folder/x"], "No such file or directory"),
        (["memory_erase", MARIA, "--yes", "--fact", "nonsense"], "this is no id of a fact"),
        (["memory_erase", MARIA, "--yes", "--conversation", "CA9"], "no such conversation"),
        (["memory_erase", JOHN, "--yes", "--fact", "nonsense"], "there is no caller with this number or id"),
        (["memory_erase", "anonymous", "--yes"], "a withheld number"),
        (["memory_erase", JOHN, "--yes"], "nothing was ever kept of this number"),
    ],
)
def test_nonsense_is_refused_in_words_without_the_number(arguments: list[str], says: str) -> None:
    maria()

    out, err, code = run(*arguments)

    assert (out, code) == ("", 2)
    assert says in err
    assert JOHN not in err
    assert MARIA not in err


@pytest.mark.parametrize("query", ["tea \ud800", "x " * 50_000, "'; DROP TABLE memory_memory; --", "\u202e"])
def test_odd_questions_are_only_odd(query: str, file: Path) -> None:
    run("memory_import", str(file))

    _, err, code = run("memory_search", MARIA, query, "--json")

    assert (err, code) in (("", 0), ("the query is empty: say what to look for", 2))


def test_an_export_goes_to_a_file_that_only_its_owner_can_read(file: Path, tmp_path: Path) -> None:
    run("memory_import", str(file))
    target = tmp_path / "maria.jsonl"

    out, _, code = run("memory_export", MARIA, "--out", str(target))

    assert (out, code) == (f"{target}: 5 lines\n", 0)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run("memory_export", MARIA)[0] == target.read_text()
    assert run("memory_import", str(target))[0].startswith("5 lines: 0 utterances and 0 facts imported, 5 known")


def test_an_erasure_prints_its_receipt(file: Path) -> None:
    run("memory_import", str(file))

    out, err, code = run("memory_erase", MARIA, "--yes")

    assert (err, code) == ("", 0)
    receipt = json.loads(out)
    assert (receipt["scope"], receipt["state"], receipt["found"]) == ("caller", "verified", {})
    assert receipt["removed"]["memory"]["utterances"] == 3
    assert not Caller.objects.exists()
    again, _, code = run("memory_erase", MARIA, "--yes")
    assert (json.loads(again)["removed"], code) == ({}, 0)
    assert run("memory_import", str(file))[2] == 2, "what was erased does not come back"


class Closed(io.StringIO):
    """A reader that has enough, as ``head`` has."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_enough_ends_an_export_quietly(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("memory_import", str(file))
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # has no descriptor that could be closed here

    with pytest.raises(SystemExit) as ended:
        call_command("memory_export", MARIA, stdout=Closed())

    assert ended.value.code == 141


@pytest.mark.parametrize(
    "command", [["memory_export", MARIA], ["memory_search", MARIA, "tea"], ["memory_erase", MARIA]]
)
def test_ctrl_c_is_no_traceback(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    maria()
    monkeypatch.setattr("builtins.input", interrupt)
    monkeypatch.setattr(manager.MCPMemoryManager, "export", interrupt)
    monkeypatch.setattr(manager.MCPMemoryManager, "search", lambda *_args, **_options: interrupt())

    assert run(*command) == ("", "stopped", 130)


def test_what_a_command_prints_holds_no_log_lines(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("memory_import", str(file))
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    root.addHandler(handler)
    try:
        capsys.readouterr()
        call_command("memory_erase", MARIA, "--yes")
    finally:
        root.removeHandler(handler)

    printed = capsys.readouterr()
    assert json.loads(printed.out)["state"] == "verified"
    assert "erasure.asked" in printed.err


@pytest.mark.parametrize(("tables", "says"), [(["auth_user"], "run manage.py migrate first"), ([], "migrated")])
def test_tables_that_are_not_there(tables: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def migrate(*_arguments: str, verbosity: int) -> None:
        raise CommandError("migrated", returncode=2)

    monkeypatch.setattr(connection.introspection, "table_names", lambda: tables)
    monkeypatch.setattr(shared, "call_command", migrate)

    assert run("memory_search", MARIA, "tea") == (
        "",
        says if not tables else f"the database has no memory yet: {says}",
        2,
    )


def test_a_fact_and_a_conversation_are_erased_alone(file: Path) -> None:
    run("memory_import", str(file))
    person = people.find(MARIA)
    assert person is not None
    (fact,) = selectors.facts(person)

    assert run("memory_erase", MARIA, "--fact", fact.id, "--yes")[2] == 0
    assert run("memory_erase", str(person.id), "--conversation", "c2", "--yes")[2] == 0

    assert selectors.facts(person) == []
    assert {line.conversation for line in selectors.lines(person)} == {"c1"}


@pytest.mark.parametrize(("answer", "erased"), [("yes", True), ("y", False), ("", False)])
def test_an_erasure_is_asked_for(answer: str, erased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    maria()
    monkeypatch.setattr("builtins.input", lambda _: answer)

    code = run("memory_erase", MARIA)[2]

    assert code == (0 if erased else 2)
    assert Caller.objects.exists() is not erased
    assert ErasureRequest.objects.exists() is erased


def test_reembedding_fills_what_is_missing(file: Path) -> None:
    run("memory_import", str(file))
    Utterance.objects.update(vector=None, vector_model="")

    assert run("memory_reembed")[0].startswith("1 callers: 3 vectors written")
    assert not Utterance.objects.filter(vector=None).exists()
    assert run("memory_reembed")[0].startswith("0 callers: 0 vectors written")


def test_an_interrupted_import_says_how_to_go_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing.Import, "_embed", interrupt)

    _, err, code = run("memory_import", str(file))

    assert (err, code) == ("stopped after line 4; the same command goes on from there", 130)
    assert Utterance.objects.count() == 3
    monkeypatch.undo()
    assert run("memory_import", str(file))[0].startswith("4 lines: 0 utterances and 0 facts imported, 4 known")
    assert not Utterance.objects.filter(vector=None).exists()
    correcting.store(maria(), "fact", "Is here", by="operator:ann", now=MONDAY + DAY)
