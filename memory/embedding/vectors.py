"""The vector of a row: the average of what was said alone and with what was said just before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from memory.core.values import Row
    from memory.embedding.port import Embedder


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector at length 1, or itself where its length is 0. Works on the last axis."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.where(length > 0, length, 1), dtype=np.float32)


def vectors_for(rows: Sequence[Row], embedder: Embedder) -> list[bytes]:
    """For each row its vector as ``Row.vector`` holds it: float32, of length 1, ``4 × dimension`` bytes.

    Only ``text`` and ``before`` of a row are looked at. Raises ``EmbeddingError``.
    """
    return pair_vectors([(row.before, row.text) for row in rows], embedder)


def pair_vectors(pairs: Sequence[tuple[str, str]], embedder: Embedder) -> list[bytes]:
    """The same from pairs of (what was said before, text). Each different text is embedded once."""
    wanted = [text for _, text in pairs] + [in_context(before, text) for before, text in pairs]
    different = list(dict.fromkeys(wanted))
    found = dict(zip(different, embedder.embed_many(different), strict=True))
    return [unit(found[text] + found[in_context(before, text)]).tobytes() for before, text in pairs]


def in_context(before: str, text: str) -> str:
    """The text after what was said just before it, as it is embedded."""
    return f"{before}\n{text}" if before else text
