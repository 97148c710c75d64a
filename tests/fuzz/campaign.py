"""All parsers searched one after the other: ``python -m tests.fuzz.campaign SECONDS [NAME…]``.

What was found so far stays in ``var/fuzz``, so that a campaign that was broken off goes on: a parser that had its time
is not searched again, and its inputs are the next one's start. ``docs/fuzzing.md`` has the results.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from tests.fuzz.parsers import PARSERS, Parser, named

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "var" / "fuzz"
PAGE = ROOT / "docs" / "fuzzing.md"
#: What a search may take beyond its time: imports, reading its corpus, one last input.
_SLACK_S = 180
#: Inputs of a parser that go into the repository, and the longest of them.
MOST_KEPT, MOST_KEPT_BYTES = 24, 1024
_MARK = "<!-- results -->"
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(slots=True)
class Result:
    """What a parser's searches came to, all together."""

    seconds: int = 0
    executions: int = 0
    on: str = ""
    findings: list[str] = field(default_factory=list)


def results() -> dict[str, Result]:
    """What was found so far."""
    path = WORK / "results.json"
    return {name: Result(**one) for name, one in json.loads(path.read_text()).items()} if path.exists() else {}


def searched(parser: Parser, seconds: int) -> Result:
    """Search ``parser`` until it has had ``seconds``, and note what came of it."""
    result = results().get(parser.name, Result())
    left_s = seconds - result.seconds
    if left_s > 0:
        _search(parser, left_s, result)
        known = results() | {parser.name: result}  # another campaign may have ended meanwhile
        (WORK / "results.json").write_text(json.dumps({name: asdict(one) for name, one in known.items()}, indent=1))
    return result


def _search(parser: Parser, seconds: int, result: Result) -> None:
    folder, findings = WORK / parser.name, WORK / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for path in parser.corpus.iterdir():
        shutil.copy(path, folder)
    prefix = f"-artifact_prefix={findings}/{parser.name}-"
    command = [sys.executable, "-m", "tests.fuzz.search", parser.name, str(folder), str(seconds), prefix]
    before = set(findings.iterdir())
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds + _SLACK_S, check=False
    )
    executed = _EXECUTED.search(done.stderr)
    result.executions += int(executed[1]) if executed else 0
    result.on = f"{datetime.now(UTC):%Y-%m-%d}"
    if done.returncode:
        (WORK / f"{parser.name}.log").write_text(done.stdout + done.stderr)
        found = sorted(path.name for path in set(findings.iterdir()) - before)
        result.findings += found or [f"ended with {done.returncode}, see {parser.name}.log"]
    else:
        result.seconds += seconds


def kept(parser: Parser) -> int:
    """Put a sample of what was found into the repository's corpus, of all sizes up to a kilobyte. Returns its size."""
    inputs = {path.read_bytes() for path in (WORK / parser.name).iterdir() if path.stat().st_size <= MOST_KEPT_BYTES}
    seeds = {path.read_bytes() for path in parser.corpus.iterdir()}
    fresh = sorted(inputs - seeds, key=lambda data: (len(data), data))
    room = max(0, MOST_KEPT - len(seeds))
    for data in fresh[:: max(1, -(-len(fresh) // room))] if room else []:
        (parser.corpus / sha256(data).hexdigest()[:12]).write_bytes(data)
    return len(list(parser.corpus.iterdir()))


def _row(parser: Parser, one: Result) -> str:
    told = "none" if one.seconds else "not searched"
    return (
        f"| `{parser.name}` | {parser.reads} | {one.seconds} | {one.executions:,} | {one.on} | "
        f"{', '.join(one.findings) or told} |"
    )


def write_page() -> None:
    """Put the table into the page. What was not searched here keeps its row: it was elsewhere."""
    head, _, before = PAGE.read_text().partition(_MARK)
    known = {line.split("`")[1]: line for line in before.splitlines() if line.startswith("| `")}
    found = results()
    rows = ["| parser | reads | seconds | inputs tried | last searched | open findings |", "|---|---|--:|--:|---|---|"]
    for parser in PARSERS:
        searched_here = parser.name in found or parser.name not in known
        rows.append(_row(parser, found.get(parser.name, Result())) if searched_here else known[parser.name])
    PAGE.write_text(f"{head}{_MARK}\n\n" + "\n".join(rows) + "\n")


def main(argv: list[str]) -> int:
    """Search all, or those that are named. 0 where nothing was found."""
    seconds = int(argv[1])
    chosen = [named(name) for name in argv[2:]] or list(PARSERS)
    worst = 0
    for parser in chosen:
        result = searched(parser, seconds)
        kept(parser)
        sys.stdout.write(
            f"{parser.name}: {result.executions:,} inputs in {result.seconds} s, {result.findings or 'nothing found'}\n"
        )
        sys.stdout.flush()
        worst |= bool(result.findings)
    write_page()
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv))
