"""Runs the benchmarks named on the command line, all of them by default."""

from __future__ import annotations

import sys

from bench import calls, latency, listening, load, parts, recall, speculation, watching

BENCHES = {
    "parts": parts.main,
    "watching": watching.main,
    "listening": listening.main,
    "latency": latency.main,
    "speculation": speculation.main,
    "load": load.main,
    "recall": recall.main,
    "calls": calls.main,
}


def main() -> int:
    """Run and print. Returns 2 for a name that is none."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; known are {', '.join(BENCHES)}")
        return 2
    for name in names:
        print(f"\n== {name}: {(sys.modules[f'bench.{name}'].__doc__ or '').splitlines()[0]}")
        BENCHES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
