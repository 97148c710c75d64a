"""Prints the table: ``python -m bench.memory [minilm|multilingual]``."""

from __future__ import annotations

import sys

from bench.memory.merging import errors
from bench.memory.recall import latency, quality
from memory.embedding.registry import LOCAL_NAMES, local


def main() -> int:
    """Measure and print. Returns 2 for an unknown embedding."""
    name = sys.argv[1] if len(sys.argv) > 1 else LOCAL_NAMES[0]
    if name not in LOCAL_NAMES:
        print(f"there is no local embedding {name!r}; known are {', '.join(LOCAL_NAMES)}")
        return 2
    embedder = local(name)
    print(f"recall with {embedder.name} (shares of the questions asked)")
    for part, counts in sorted(quality(embedder).items()):
        print(counts.line(part))
    print("rules and merge")
    print("\n".join(errors().lines()))
    print("latency (median, p99)")
    for what, (median_ms, p99_ms) in latency(embedder).items():
        print(f"  {what:<38} {median_ms:8.2f} ms {p99_ms:8.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
