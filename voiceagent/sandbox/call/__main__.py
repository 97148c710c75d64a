"""``python -m voiceagent.sandbox.call`` (``make call``)."""

from __future__ import annotations

import sys


def main() -> int:
    """Load and run the command; Ctrl-C ends it without a word at any time."""
    try:
        from voiceagent.sandbox.call import command

        return command.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
