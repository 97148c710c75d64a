"""The parsers that read from outside: their kept inputs and what is derived from them; a search of each in the long run."""

from __future__ import annotations

import json
import os
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import parsers
from tests.fuzz.mutations import mutated
from tests.fuzz.parsers import PARSERS, Parser, seeds

if TYPE_CHECKING:
    from collections.abc import Callable

#: Derived inputs of a parser, in each run the same ones; fewer where one costs milliseconds.
DERIVED, SLOW_DERIVED = 250, 20
_SLOW = frozenset({"openai_chat", "openai_responses", "recording", "console_form"})

each = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


@pytest.fixture(autouse=True)
def _key_of_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JWT's parser puts a key where the issuer's would be fetched: for its own tests only."""
    from memory.mcp import tokens

    monkeypatch.setattr(tokens, "_keys", tokens._keys)


def _tried(once: Callable[[bytes], None], data: bytes) -> None:
    began_s = time.process_time()
    try:
        once(data)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} for {data[:400]!r}") from error
    assert time.process_time() - began_s < parsers.SLOW_S, data[:400]


@each
def test_kept_inputs_and_what_is_derived_from_them(parser: Parser) -> None:
    once, kept = parser.ready(), list(seeds(parser))
    assert kept
    for data in kept:
        _tried(once, data)
    rng = Random(parser.name)
    for _ in range(SLOW_DERIVED if parser.name in _SLOW else DERIVED):
        data = mutated(rng.choice(kept), rng, kept)[: parser.most_bytes]
        if rng.random() < 0.3:
            kept.append(data)
        _tried(once, data)


def test_every_corpus_has_its_parser() -> None:
    assert {path.name for path in parsers.CORPUS.iterdir()} == {parser.name for parser in PARSERS}


def test_what_a_parser_does_not_document_is_a_finding() -> None:
    def broken(data: bytes) -> object:
        return json.loads(data)["facts"]

    lenient = Parser("x", "x", lambda: broken, lambda: (ValueError, KeyError))
    lenient.ready()(b"{}")
    with pytest.raises(AssertionError, match="TypeError for b'\\[\\]'"):
        _tried(lenient.ready(), b"[]")


@pytest.mark.long
@each
def test_search(parser: Parser) -> None:
    """Ten minutes each, or ``FUZZ_SECONDS``; goes on where the last one stopped."""
    pytest.importorskip("atheris", reason="pip install -r requirements-fuzz.txt (Linux on x86-64)")
    from tests.fuzz import campaign

    result = campaign.searched(parser, int(os.environ.get("FUZZ_SECONDS", "600")))
    campaign.write_page()
    assert not result.findings, f"see {campaign.WORK}"
