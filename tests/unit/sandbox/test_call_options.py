"""What `make call` admits: a flag that cannot work is refused by its name, with what would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from voiceagent.sandbox.call.options import MOST_CALLS, parse

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("arguments", "flag", "admitted"),
    [
        (["--calls", "0"], "--calls", f"from 1 to {MOST_CALLS}"),
        (["--calls", "-3"], "--calls", f"from 1 to {MOST_CALLS}"),
        (["--calls", "1000000000000"], "--calls", f"from 1 to {MOST_CALLS}"),
        (["--calls", "two"], "--calls", "whole number"),
        (["--dtmf", "xyz"], "--dtmf", "0 to 9"),
        (["--dtmf", "www"], "--dtmf", "0 to 9"),
        (["--dtmf", ""], "--dtmf", "0 to 9"),
        (["--barge-in-after", "-1"], "--barge-in-after", "from 0 to 60000"),
        (["--barge-in-after", "1.5"], "--barge-in-after", "from 0 to 60000"),
        (["--barge-in-after", "500", "--dtmf", "1"], "--barge-in-after", "--wav or --text"),
        (["--text", ""], "--text", "word"),
        (["--text", "Hello.", " … "], "--text", "word"),
        (["--from", "abc"], "--from", "+14155550123"),
        (["--to", "0049 30 1234"], "--to", "+14155550123"),
        (["--from", "+4930123456789012345"], "--from", "+14155550123"),
        (["--url", "voice.example.com", "--auth-token", "t"], "--url", "https://"),
        (["--url", "http://:80", "--auth-token", "t"], "--url", "https://"),
        (["--url", "http://host:99999999", "--auth-token", "t"], "--url", "https://"),
        (["--url", "https://voice.example.com"], "--url", "--auth-token"),
        (["--auth-token", ""], "--auth-token", "token"),
        (["--account-sid", "AC123"], "--account-sid", "32"),
        (["--wav", "a.wav", "--text", "b"], "--text", "--wav"),
    ],
)
def test_what_cannot_work_is_refused(
    arguments: list[str], flag: str, admitted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {flag}: " in message
    assert admitted in message


def test_the_examples_of_the_readme_work_as_printed() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^make call ARGS='([^']+)'", text, re.MULTILINE)
    assert len(examples) >= 4
    for example in examples:
        options = parse(shlex.split(example))
        assert all((ROOT / path).is_file() for path in options.wav or ())


def test_what_works_is_admitted() -> None:
    options = parse(["--text", "Hi.", "Bye.", "--barge-in-after", "0", "--dtmf", "12w*#AD", "--calls", "200"])
    assert (options.text, options.barge_in_after, options.dtmf, options.calls) == (["Hi.", "Bye."], 0, "12w*#AD", 200)
    there = parse(["--url", "https://voice.example.com:8443/", "--auth-token", "t", "--from", "+4930123456"])
    assert (there.url, there.caller) == ("https://voice.example.com:8443", "+4930123456")
    assert parse([]).dtmf is None
