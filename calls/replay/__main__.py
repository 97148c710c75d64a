"""``python -m calls.replay FILE…``: replay exported calls without a database. Exit codes as ``manage.py replay``."""

from __future__ import annotations

import sys
from pathlib import Path

from calls.replay.callfile import CallFileError, read
from calls.replay.run import replay
from calls.replay.show import BAD_INPUT, SAME, exit_code, report
from calls.replay.versions import UnknownVersion


def main(names: list[str]) -> int:
    """Replay these files. The exit code is the lowest but ``SAME``: a difference outweighs bad input."""
    codes = {SAME}
    for name in names:
        try:
            record = read(Path(name).read_bytes()).record
            outcome = replay(record)
        except (OSError, CallFileError, UnknownVersion) as error:
            codes.add(BAD_INPUT)
            sys.stdout.write(f"{name}: {error}\n")
            continue
        codes.add(exit_code(outcome))
        sys.stdout.writelines(f"{line}\n" for line in report(record.call_sid, outcome))
        sys.stdout.write(f"  commands sha256 {outcome.commands_sha256}\n")
    return min(codes - {SAME}, default=SAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
