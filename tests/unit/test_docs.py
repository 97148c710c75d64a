"""The documents name what the code has: every metric, every variable, every end reason, and no file that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from calls import metrics
from calls.breakerrules import OPERATIONS
from calls.core.state import END_REASONS
from calls.providers.errors import KINDS
from voiceagent import backlog, login, taskmetrics

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def exposed() -> set[str]:
    """The name of every metric of ours, as a scraper sees it."""
    defined = [value for module in (metrics, taskmetrics, login) for value in vars(module).values()]
    names = {metric.describe()[0].name: metric for metric in defined if isinstance(metric, MetricWrapperBase)}
    return {
        *(name + ("_total" if isinstance(metric, Counter) else "") for name, metric in names.items()),
        *(name for name, _, _ in backlog.FIGURES),
    }


def test_the_metrics_are_those_that_are_documented() -> None:
    text = (ROOT / "docs/metrics.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)` \| (?:counter|gauge|histogram) \|", text, re.MULTILINE)) == exposed()


def test_every_variable_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    source = (ROOT / "voiceagent/conf.py").read_text()
    names = re.findall(r'env\.\w+\("([A-Z_]+)"', source)
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_end_reason_is_documented() -> None:
    text = (ROOT / "docs/call-flow.md").read_text()
    for reason, meaning in END_REASONS.items():
        assert f"| `{reason}` | {meaning} |" in text


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 60
    assert named <= set(re.findall(r"\bdef (test_\w+)\(", tests))


def test_every_control_of_the_threat_model_has_a_test() -> None:
    rows = re.findall(r"^\| (?!threat|---)(.+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    assert [row for row in rows if not re.search(r"\| `test_[^|]+$", row)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_what_the_code_refers_to_is_there() -> None:
    folders = ("calls", "memory", "voiceagent", "tests", "bench")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"docs/[\w/-]+\.md", path.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_figures_of_every_breaker_are_documented() -> None:
    text = (ROOT / "docs/resilience.md").read_text().split("## Breakers", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for name, rules in OPERATIONS.items():
        figures = f"{rules.attempts} attempts | {rules.window_ms // 1000} s | {rules.pause_ms // 1000} s"
        figures += f" | {rules.lost_pause_ms // 1000} s | {rules.longest_pause_ms // 1000} s |"
        assert any(f"`{name}`" in row and row.endswith(figures) for row in rows), (name, figures)
    for kind in KINDS.keys() - {"open"}:
        assert f"`{kind}`" in text, kind
