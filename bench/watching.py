"""What watching a call costs beside its turn logic: metrics, log lines, the live board, traces. CPU time per step, and against the core's.

A recorded call of six turns, its events fed to the core again; then its steps published to each of those who watch.
"""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from calls.bus import Bus, StepTaken
from calls.calllog import CallLog
from calls.calltrace import CallTrace
from calls.conf import TraceConf
from calls.core.machine import step
from calls.core.record import event_from
from calls.core.state import State
from calls.liverow import LiveRow, identity_of
from calls.logcontext import CallPlace
from calls.metrics import CallMetrics
from calls.replay.callfile import read
from calls.tickets import Ticket
from calls.tracekeeper import CallSampler, Keeper
from calls.tracing import Tracing, fresh
from voiceagent.logs import configure, logging_conf

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.core.events import Event

CALL = Path(__file__).parent.parent / "tests/calls/booking-and-barge-in.call.jsonl.gz"
ROUNDS = 20


def events() -> list[Event]:
    """The events of the recorded call."""
    return [event_from(entry.data) for entry in read(CALL.read_bytes()).record.lines if entry.kind == "event"]


def steps_of(recorded: list[Event]) -> list[StepTaken]:
    """What the actor would publish."""
    state, taken = State(), []
    for number, event in enumerate(recorded, 1):
        state, commands = step(state, event)
        taken.append(StepTaken(number, event.at_ms, event, commands, state))
    return taken


def cpu_us(work: Callable[[], Any], steps: int) -> float:
    """CPU time of a step in µs; the best of some rounds, since only noise makes it longer."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best * 1e6 / steps


def main() -> None:
    """Print the table."""
    from opentelemetry.sdk.trace import TracerProvider

    configure(logging_conf("INFO", "json", with_pii=False))
    root = logging.getLogger()
    written = io.StringIO()
    for handler in root.handlers:
        handler.setStream(written)  # type: ignore[attr-defined]
    structlog.get_logger("calls")
    recorded = events()
    taken = steps_of(recorded)
    started = taken[0].event
    ticket = Ticket("CA" + "0" * 32, "", "+15550001111", "+15005550006", 1, started.agent)  # type: ignore[attr-defined]

    def publish(watch: Callable[[Bus], Any]) -> None:
        bus = Bus(raise_it)
        watcher = watch(bus)
        for one in taken:
            bus.publish(one)
        if isinstance(watcher, CallTrace):
            watcher.close("caller_hung_up", time.time_ns())

    def traced(share: float) -> Callable[[Bus], CallTrace]:
        keeper = Keeper(conf := TraceConf(share=share, slow_turn_ms=60_000), lambda span: None)
        provider = TracerProvider(sampler=CallSampler(keeper, lambda path: False), shutdown_on_exit=False)
        provider.add_span_processor(keeper)
        tracing = Tracing(provider.get_tracer("bench"), keeper, conf)
        return lambda bus: CallTrace(bus, ticket, fresh(), tracing, ("gpt-6-luna", "sonic-3.5"), time.time_ns())

    identity = identity_of(ticket, "gpt-6-luna", taken[0].wall_ms)

    def board_row(bus: Bus) -> LiveRow:
        row, changed = LiveRow(identity), {}

        def note(one: StepTaken, _: StepTaken) -> None:
            row.take(one)
            changed[identity.call_sid] = None

        bus.subscribe(StepTaken, note)
        return row

    def looked_at() -> None:
        row = LiveRow(identity)
        for number, one in enumerate(taken):
            row.take(one)
            if number % 10 == 0:
                orjson.dumps(row.facts(one.wall_ms))

    def core() -> None:
        state = State()
        for event in recorded:
            state, _ = step(state, event)

    turns = sum(type(command).__name__ == "TurnClosed" for one in taken for command in one.commands)
    steps = len(taken)
    base = cpu_us(core, steps)
    rows = {
        "core (reference)": base,
        "bus without anybody": cpu_us(lambda: publish(lambda bus: None), steps),
        "metrics": cpu_us(lambda: publish(lambda bus: CallMetrics(bus, lambda: 0)), steps),
        "log lines": cpu_us(lambda: publish(lambda bus: CallLog(bus, ticket, CallPlace("", ""))), steps),
        "live board, a row kept": cpu_us(lambda: publish(board_row), steps),
        "trace, kept": cpu_us(lambda: publish(traced(1.0)), steps),
        "trace, let go of at the end": cpu_us(lambda: publish(traced(0.0)), steps),
    }
    kept = rows["live board, a row kept"] - rows["bus without anybody"]
    looks = (cpu_us(looked_at, steps) - kept) * 10
    lines = written.getvalue().count("\n") // ROUNDS
    print(f"{steps} steps, {turns} turns, {lines} lines")
    for name, figure in rows.items():
        print(
            f"{name:30} {figure:7.1f} µs a step   {figure * steps / turns / 1000:7.2f} ms a turn   {figure / base:5.2f} x"
        )
    print(f"{'the row, shown once':30} {looks:7.1f} µs, at most four times a second while somebody looks")


def raise_it(error: BaseException) -> None:
    """A benchmark of something that fails measures nothing."""
    raise error
