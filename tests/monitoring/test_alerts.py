"""The alert rules by Prometheus' own tool: each fires when it should, and alone, and not while all is well."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.house import ROOT
from tests.monitoring.prometheus import RULES, program, rules

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = 40
#: In the tool's notation: begin, step for each minute, how many.
WELL = f"1x{MINUTES}"


def steady(per_minute: float) -> str:
    """A counter that grows by so much each minute."""
    return f"0+{per_minute}x{MINUTES}"


def after(minutes: int, before: str, then: str) -> str:
    """``before`` for so many minutes, ``then`` for the rest."""
    return f"{before}x{minutes - 1} {then}x{MINUTES - minutes}"


HEALTHY: dict[str, str] = {
    **{f'up{{job="voiceagent-{name}",instance="a"}}': WELL for name in ("web", "worker", "scheduler")},
    "calls_offered_total": steady(6),
    "calls_answered_total": steady(6),
    'calls_refused_total{why="overload"}': "0x40",
    'calls_refused_total{why="drain"}': steady(1),
    'calls_refused_total{why="rate"}': steady(2),
    'calls_ended_total{reason="caller_hung_up"}': steady(6),
    'calls_ended_total{reason="model_failed"}': "0x40",
    'turns_total{outcome="answered"}': steady(30),
    'turns_total{outcome="failed_to_fallback"}': steady(0.5),
    "turn_latency_ms_count": steady(30),
    'turn_latency_ms_bucket{le="1500.0"}': steady(29),
    "barge_in_reaction_ms_count": steady(6),
    'barge_in_reaction_ms_bucket{le="300.0"}': steady(6),
    'breaker_state{breaker="openai.reply",phase="closed"}': WELL,
    'breaker_state{breaker="openai.reply",phase="open"}': "0x40",
    'breaker_state{breaker="openai.distil",phase="open"}': "0x40",
    'openai_error_total{operation="openai.reply",kind="server"}': steady(1),
    'cartesia_stt_error_total{operation="cartesia.stt",kind="cut"}': steady(1),
    'cartesia_tts_error_total{operation="cartesia.tts",kind="cut"}': steady(1),
    'twilio_error_total{operation="twilio.rest",kind="server"}': "0x40",
    'event_loop_lag_ms{job="voiceagent-web",instance="a"}': "4x40",
    'process_open_fds{job="voiceagent-web",instance="a"}': "300x40",
    'process_max_fds{job="voiceagent-web",instance="a"}': "1024x40",
    'invariant_violations_total{invariant="one_stream"}': "0x40",
    'dependency_up{dependency="redis"}': WELL,
    'dependency_up{dependency="database"}': WELL,
    'event_log_waiting_entries{job="voiceagent-web",instance="a"}': "20x40",
    "event_log_dropped_entries_total": "0x40",
    "archive_lag_ms": "0x40",
    'celery_queue_length{queue="celery"}': "3x40",
    'celery_tasks_total{task="calls.tasks.archive",outcome="succeeded"}': steady(6),
    'celery_tasks_total{task="calls.tasks.archive",outcome="failed"}': "0x40",
    "memory_lag_ms": "60000x40",
}

#: What goes wrong from minute 20 on, by the alert that must then fire.
WRONG: dict[str, dict[str, str]] = {
    "NoCallsAnswered": {"calls_answered_total": "0+6x19 120x20"},
    "CallsRefused": {'calls_refused_total{why="overload"}': "0x19 0+2x20"},
    "CallsEndBadly": {'calls_ended_total{reason="model_failed"}': "0x19 0+4x20"},
    "TurnsFail": {'turns_total{outcome="failed_to_fallback"}': "0x19 0+6x20"},
    "TurnLatencyHigh": {'turn_latency_ms_bucket{le="1500.0"}': "0+29x19 551+20x20"},
    "BargeInSlow": {'barge_in_reaction_ms_bucket{le="300.0"}': "0+6x19 114+2x20"},
    "BreakerOpen": {'breaker_state{breaker="openai.reply",phase="open"}': "0x19 1 1 0 1 1 0 1x15"},
    "MemoryBreakerOpen": {'breaker_state{breaker="openai.distil",phase="open"}': "0x19 1x20"},
    "VendorErrors": {'cartesia_tts_error_total{operation="cartesia.tts",kind="cut"}': "0+1x19 20+8x20"},
    "WebDown": {'up{job="voiceagent-web",instance="a"}': "1x19 0x20"},
    "WorkerDown": {'up{job="voiceagent-worker",instance="a"}': "1x19 _x20"},
    "SchedulerDown": {'up{job="voiceagent-scheduler",instance="a"}': "1x19 0x20"},
    "EventLoopBlocked": {'event_loop_lag_ms{job="voiceagent-web",instance="a"}': "4x19 300x20"},
    "FilesRunOut": {'process_open_fds{job="voiceagent-web",instance="a"}': "300x19 900x20"},
    "InvariantViolated": {'invariant_violations_total{invariant="one_stream"}': "0x19 1x20"},
    "RedisAway": {'dependency_up{dependency="redis"}': "1x19 0x20"},
    "DatabaseAway": {'dependency_up{dependency="database"}': "1x19 0x20"},
    "EventLogWaiting": {'event_log_waiting_entries{job="voiceagent-web",instance="a"}': "20x19 900x20"},
    "EventLogLost": {"event_log_dropped_entries_total": "0x19 40x20"},
    "ArchiveLate": {"archive_lag_ms": "0x19 400000x20"},
    "TasksWait": {'celery_queue_length{queue="celery"}': "3x19 500x20"},
    "TasksFail": {'celery_tasks_total{task="calls.tasks.archive",outcome="failed"}': "0x19 0+2x20"},
    "MemoryLate": {"memory_lag_ms": "60000x19 4000000x20"},
}

#: A breaker that opened for a few seconds and then waits for a call to be its probe.
RESTS = {
    'breaker_state{breaker="openai.reply",phase="closed"}': "1x19 0x20",
    'breaker_state{breaker="openai.reply",phase="half_open"}': "0x19 1x20",
}
#: What happens twice is no alert, however the tool stretches it to the whole of its window.
TWICE: dict[str, str] = {
    "CallsRefused": 'calls_refused_total{why="overload"}',
    "TasksFail": 'celery_tasks_total{task="calls.tasks.archive",outcome="failed"}',
}


def tool(*arguments: str) -> str:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(folder: Path, cases: list[dict[str, Any]]) -> None:
    file = folder / "alerts_test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    tool("test", "rules", str(file))


def test_the_rules_are_rules() -> None:
    assert f"{len(rules())} rules found" in tool("check", "rules", str(RULES))


def test_each_alert_fires_when_it_should_and_alone(tmp_path: Path) -> None:
    names = [rule["alert"] for rule in rules()]
    assert sorted(WRONG) == sorted(names), "every alert has a case here"
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    # With all in order until minute 19, then what is wrong for a quarter of an hour.
    moments = {"18m": None, "34m": 1}
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in {**HEALTHY, **wrong}.items()],
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": at,
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": value}] if value else [],
                }
                for at, value in moments.items()
            ],
        }
        for alert, wrong in [*WRONG.items(), ("BreakerOpen", RESTS)]
    ]
    check(tmp_path, cases)


def test_what_happens_twice_is_no_alert(tmp_path: Path) -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in rules()}
    # Between two samples: the window holds fewer of them, and an increase is stretched most.
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": "0x31 2x8"}],
            "promql_expr_test": [{"expr": expressions[alert], "eval_time": "34m30s", "exp_samples": []}],
        }
        for alert, name in TWICE.items()
    ]
    check(tmp_path, cases)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    file, anchor = rule["annotations"]["runbook_url"].split("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_runbook_knows_no_other_alerts() -> None:
    named = re.findall(r"^### (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert named == [rule["alert"] for rule in rules()]
