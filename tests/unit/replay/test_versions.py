"""A record replays by the rules it was made with; rules that this release does not have are told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import calls.core
from calls.core import events as e
from calls.core import machine, policy
from calls.core.policy import POLICY_VERSION
from calls.core.record import tagged
from calls.core.state import State
from calls.replay import cores, versions
from calls.replay.disguise import disguised
from calls.replay.run import replay
from calls.replay.show import report
from calls.replay.versions import UnknownVersion, core_of, freeze, frozen
from tests.unit.core.world import agent
from tests.unit.replay.records import a_booking, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calls.core.policy import AgentProfile
    from calls.replay.log import CallRecord

CORE = Path(calls.core.__path__[0])
#: Older than any: rules in which the caller's silence lasts a second longer.
OLD = 0


@pytest.fixture
def old_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A frozen core of another version, whose rules are others."""
    folder = tmp_path / "cores"
    folder.mkdir()
    freeze(CORE, folder, OLD)
    ending = folder / f"v{OLD}" / "closing.py"
    text = ending.read_text()
    assert text.count("w.now + w.policy.idle_ms") == 1
    ending.write_text(text.replace("w.now + w.policy.idle_ms", "w.now + w.policy.idle_ms + 1000"))
    monkeypatch.setattr(cores, "__path__", [*cores.__path__, str(folder)])
    versions._load.cache_clear()
    yield
    versions._load.cache_clear()
    for name in [name for name in sys.modules if name.startswith(f"{cores.__name__}.v{OLD}")]:
        del sys.modules[name]


def profile(version: int) -> AgentProfile:
    plain = agent()
    return replace(plain, policy=replace(plain.policy, version=version))


def call_by(version: int) -> CallRecord:
    """A short call by the core of this version: nobody says anything, then the caller is gone."""
    core = core_of(version)
    steps: list[Any] = []
    state = core.state()
    started = e.CallStarted(call_sid="CA0", agent=profile(version))
    for event in (started, e.EarReady(at_ms=20), e.CarrierGone(at_ms=500, how="stop")):
        read = core.event_from(tagged(event))
        after, commands = core.step(state, read)
        steps.append((state, read, commands, after))
        state = after
    return record_of(steps, core.dumps)


def idle_due_ms(call: CallRecord) -> int:
    return next(x.data["due_ms"] for x in call.lines if x.type == "SetTimer" and x.data["timer"] == "idle")


def test_a_record_of_an_older_version_replays_with_its_rules(old_rules: None) -> None:
    old, new = call_by(OLD), call_by(POLICY_VERSION)
    assert idle_due_ms(old) == idle_due_ms(new) + 1000
    outcome = replay(old)
    assert (outcome.version, outcome.difference, outcome.damage) == (OLD, None, None)
    assert outcome.states == outcome.steps == 3
    assert f"  invariants are not checked: the rules are those of version {OLD}" in report("CA0", outcome)
    assert replay(new).is_same


def test_by_todays_rules_it_would_differ(old_rules: None) -> None:
    old = call_by(OLD)
    today = replace(old.lines[0], data=naming(old.lines[0].data, POLICY_VERSION))
    difference = replay(replace(old, lines=(today, *old.lines[1:]))).difference
    assert difference is not None
    assert difference.what == "commands"


def naming(data: dict[str, Any], version: int) -> dict[str, Any]:
    return {**data, "agent": {**data["agent"], "policy": {**data["agent"]["policy"], "version": version}}}


def test_a_record_of_an_older_version_is_disguised_by_its_rules(old_rules: None) -> None:
    other = disguised(call_by(OLD))
    assert replay(other).version == OLD
    assert idle_due_ms(other) == idle_due_ms(call_by(OLD))


def test_the_frozen_core_stands_on_itself_alone(old_rules: None) -> None:
    core = core_of(OLD)
    assert core.state.__module__ == f"{cores.__name__}.v{OLD}.state"
    assert not core.is_todays
    assert OLD in frozen()
    with pytest.raises(ValueError, match="unknown type"):
        core.event_from({"type": "Nonsense"})


def test_todays_core_is_the_one_that_calls_run_with() -> None:
    core = core_of(POLICY_VERSION)
    assert (core.step, core.state) == (machine.step, State)
    assert core.is_todays
    assert POLICY_VERSION not in frozen()
    assert "mhm" in core.vocabulary


def test_a_version_that_is_not_there_is_told_with_those_that_are(old_rules: None) -> None:
    call = a_booking()
    data = naming(call.lines[0].data, 99)
    known = ", ".join(map(str, range(OLD, POLICY_VERSION + 1)))
    with pytest.raises(UnknownVersion, match=rf"no core of policy version 99; this release has {known}$"):
        replay(replace(call, lines=(replace(call.lines[0], data=data), *call.lines[1:])))


def test_a_frozen_version_is_never_frozen_again(tmp_path: Path) -> None:
    written = freeze(CORE, tmp_path, OLD)
    assert {file.name for file in written} == {file.name for file in CORE.glob("*.py")}
    assert all("calls.core" not in file.read_text() for file in written)
    with pytest.raises(FileExistsError):
        freeze(CORE, tmp_path, OLD)


def test_every_older_version_that_was_ever_in_force_is_kept() -> None:
    assert frozen() == set(range(1, policy.POLICY_VERSION))
