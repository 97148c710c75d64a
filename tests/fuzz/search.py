"""Searches one parser for an input that it does not stand, guided by coverage (atheris, which is libFuzzer).

``python -m tests.fuzz.search NAME FOLDER SECONDS`` reads and fills the corpus in ``FOLDER``; options of libFuzzer may
follow. It ends with 0, or with the input of a crash, a hang or too much memory in a file that it names.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from random import Random

import atheris

os.environ["DJANGO_SETTINGS_MODULE"] = "voiceagent.settings.test"

from tests.fuzz import parsers
from tests.fuzz.mutations import mutated


def main(argv: list[str]) -> None:
    """Search until the time is up."""
    name, folder, seconds, *options = argv[1:]
    parser = parsers.named(name)
    with atheris.instrument_imports(include=["calls", "memory", "voiceagent"], enable_loader_override=False):
        import django

        django.setup()
        once = parser.ready()
        # What is imported at the first use is imported, and instrumented, now.
        for data in parsers.seeds(parser):
            with suppress(Exception):
                once(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return mutated(data, Random(seed), by_bytes=lambda one: atheris.Mutate(one, most))[:most]

    atheris.Setup(
        [
            argv[0],
            folder,
            f"-max_total_time={seconds}",
            f"-max_len={parser.most_bytes}",
            f"-timeout={parsers.SLOW_S}",
            f"-rss_limit_mb={parsers.MOST_MEMORY_MB}",
            "-print_final_stats=1",
            "-verbosity=1",
            *options,
        ],
        once,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
