"""A real Prometheus for tests: its programs, a server that scrapes, and questions to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.house import ROOT
from voiceagent.embedded import state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RULES = ROOT / "docs/monitoring/alerts.yml"
DASHBOARD = ROOT / "docs/monitoring/dashboard.json"

#: A selector: a name that is not a function's or a label's, and what stands in its braces.
_SELECTOR = re.compile(r"\b([a-z][a-z0-9_]*_[a-z0-9_]*|up)(\{[^}]*\})?(?![a-z0-9_(])")
_WORDS = re.compile(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)")
_FUNCTIONS = frozenset({"histogram_quantile", "max_over_time"})


@cache
def program(name: str) -> str:
    """``prometheus`` or ``promtool``. Fails the test with what to install where there is none."""
    folder = os.environ.get("PROMETHEUS", "")
    if not folder:
        found = subprocess.run([str(ROOT / ".ci/prometheus")], cwd=ROOT, capture_output=True, text=True, check=False)
        folder = found.stdout.strip()
        if not folder:
            pytest.fail(found.stderr)
    return f"{folder}/{name}"


def selectors(expression: str) -> set[str]:
    """Every selector of an expression, with its labels and without its range."""
    bare = _WORDS.sub("", expression)
    return {name + (labels or "") for name, labels in _SELECTOR.findall(bare) if name not in _FUNCTIONS}


def rules() -> list[dict[str, Any]]:
    """The alert rules, as Prometheus' own tools see them: name, expression, annotations."""
    import yaml

    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, as Grafana would send it."""
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    notes = [note["expr"] for note in dashboard["annotations"]["list"]]
    return [expression.replace("$__rate_interval", "1m") for expression in targets + notes]


class Prometheus:
    """Questions to a running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer. Raises ``AssertionError`` with the server's words where it refuses."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:  # noqa: S310 - our own server
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def is_ready(self) -> bool:
        """Whether it serves."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def scraping(targets: Mapping[str, int], folder: Path, every: str = "1s") -> Iterator[Prometheus]:
    """A server that scrapes these loopback ports by job, and evaluates the alert rules as often."""
    port = state.free_port(set(targets.values()))
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            for job, target in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    with subprocess.Popen([program("prometheus"), *options], env={"GOMAXPROCS": "1"}) as server:
        try:
            asked = Prometheus(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + 20
            while not asked.is_ready():
                assert server.poll() is None, "Prometheus ended"
                assert time.monotonic() < deadline, "Prometheus does not become ready"
                time.sleep(0.05)
            yield asked
        finally:
            server.kill()
