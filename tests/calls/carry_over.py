"""``python -m tests.calls.carry_over FILE…``: recorded calls under today's rules, where these lead to the same commands.

After a change of the rules, a test call would go on replaying by the old ones and no longer watch the new. A call
that goes another way now is left as it is, and named.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from calls.core.machine import step
from calls.core.policy import POLICY_VERSION
from calls.core.record import dumps, event_from
from calls.core.state import State
from calls.replay.callfile import read, written
from calls.replay.digest import StateDigest, layout_of
from calls.replay.log import CallRecord, Line, steps_of


def carried_over(record: CallRecord) -> CallRecord | None:
    """The record as today's rules make it; ``None`` where they make another one of it."""
    layout, state, lines = layout_of(State), State(), list[Line]()
    digest = StateDigest(State, layout)
    for recorded in steps_of(record)[0]:
        data = json.loads(json.dumps(recorded.event.data))
        if recorded.event.type == "CallStarted":
            data["agent"]["policy"]["version"] = POLICY_VERSION
        event = event_from(data)
        state, commands = step(state, event)
        given = [json.loads(dumps(command)) for command in commands]
        if given != [line.data for line in recorded.commands]:
            return None
        lines.append(replace(recorded.event, data=json.loads(dumps(event)), digest=digest.of(state)))
        lines += recorded.commands
    return CallRecord(record.call_sid, tuple(lines), layout, len(lines))


def main(names: list[str]) -> int:
    """Write each file anew. 1 where one was left as it is."""
    left = 0
    for file in map(Path, names):
        over = carried_over(read(file.read_bytes()).record)
        if over is None:
            left = 1
            sys.stdout.write(f"{file.name} goes another way by version {POLICY_VERSION}: left as it is\n")
        else:
            file.write_bytes(written(over))
    return left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
