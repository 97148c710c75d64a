"""The second embedding against the stand-in, with the official SDK."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memory.embedding.openai import OpenAIEmbedding
from memory.embedding.port import EmbeddingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voiceagent.sandbox.control import Handle, SandboxServer


@contextmanager
def embedder_at(url: str, key: str, **options: Any) -> Iterator[OpenAIEmbedding]:
    made = OpenAIEmbedding(key, url, **options)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("model", "dimension", "name", "length"),
    [
        ("text-embedding-3-small", 0, "text-embedding-3-small", 1536),
        ("text-embedding-3-large", 0, "text-embedding-3-large", 3072),
        ("text-embedding-3-small", 512, "text-embedding-3-small-512", 512),
        ("text-embedding-ada-002", 0, "text-embedding-ada-002", 1536),
    ],
)
async def test_vectors_of_the_asked_length(
    sandbox: SandboxServer, vendor: Handle, model: str, dimension: int, name: str, length: int
) -> None:
    with embedder_at(sandbox.openai_url, vendor.key, model=model, dimension=dimension) as embedder:
        assert (embedder.name, embedder.dimension) == (name, length)
        one = await asyncio.to_thread(embedder.embed_query, "I moved to York")
        many = await asyncio.to_thread(embedder.embed_many, ["I moved to York", "", "\x00\ud800"])
    assert many.shape == (3, length)
    assert many.dtype == np.float32
    assert np.allclose(many[0], one, atol=1e-5)
    assert np.isclose(np.linalg.norm(one), 1, atol=1e-4)
    assert not many[1:].any()


async def test_many_and_long_texts_go_in_requests_of_bounded_size(sandbox: SandboxServer, vendor: Handle) -> None:
    texts = [f"order {place}" for place in range(130)] + ["word " * 20_000] * 40 + ["é" * 20_000]
    with embedder_at(sandbox.openai_url, vendor.key) as embedder:
        found = await asyncio.to_thread(embedder.embed_many, texts)
        again = await asyncio.to_thread(embedder.embed_query, "order 129")
        assert (await asyncio.to_thread(embedder.embed_many, [])).shape == (0, 1536)
    assert np.allclose(found[129], again, atol=1e-5)
    assert [entry["inputs"] for entry in vendor.journal("openai.embeddings")] == [128, 33, 10, 1]


@pytest.mark.parametrize(
    ("kind", "options", "message", "retryable"),
    [
        ("refuse", {"status": 429}, "answered 429", True),
        ("refuse", {"status": 500}, "answered 500", True),
        ("refuse", {"status": 401}, "answered 401", False),
        ("hang", {}, "did not answer in time", True),
    ],
)
async def test_failures_are_told_once_and_say_whether_to_try_again(
    sandbox: SandboxServer, vendor: Handle, kind: Any, options: dict[str, Any], message: str, retryable: bool
) -> None:
    vendor.fault("openai.embeddings", kind, **options)  # once: a second request would be answered
    with (
        embedder_at(sandbox.openai_url, vendor.key, timeout_s=0.3) as embedder,
        pytest.raises(EmbeddingError, match=message) as caught,
    ):
        await asyncio.to_thread(embedder.embed_query, "a secret of the caller")
    assert caught.value.retryable is retryable
    assert "secret" not in str(caught.value)


def test_nobody_there() -> None:
    with (
        embedder_at("http://127.0.0.1:9/v1", "key") as embedder,
        pytest.raises(EmbeddingError, match="cannot be reached") as caught,
    ):
        embedder.embed_query("hello")
    assert caught.value.retryable


async def test_a_model_of_other_length_than_told_is_refused(sandbox: SandboxServer, vendor: Handle) -> None:
    with embedder_at(sandbox.openai_url, vendor.key, model="text-embedding-3-small", dimension=512) as embedder:
        embedder.dimension = 500
        with pytest.raises(EmbeddingError, match="other vectors than 1 of dimension 500"):
            await asyncio.to_thread(embedder.embed_query, "hello")


def test_dimensions_that_no_model_has() -> None:
    with pytest.raises(ValueError, match="text-embedding-3-small needs a dimension of at most 1536"):
        OpenAIEmbedding("key", "http://127.0.0.1:9/v1", dimension=2000)
    with pytest.raises(ValueError, match="own-model needs a dimension"):
        OpenAIEmbedding("key", "http://127.0.0.1:9/v1", model="own-model")
