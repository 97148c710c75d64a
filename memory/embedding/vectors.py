"""The vector of a row: what was said alone, and with what was said just before it as far as the two belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from memory.core.values import Row
    from memory.embedding.port import Embedder

#: The cosines of a turn with the one before it at which the two have nothing, and all, to do with one another.
_APART = 0.1
_TOGETHER = 0.4


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
    forms = [(text, last_of(before), in_context(before, text)) for before, text in pairs]
    different = list(dict.fromkeys(form for row in forms for form in row))
    found = dict(zip(different, embedder.embed_many(different), strict=True))
    return [
        unit(found[text] + _share(found[text], found[last], embedder) * found[context]).tobytes()
        for text, last, context in forms
    ]


def _share(own: NDArray[np.float32], last: NDArray[np.float32], embedder: Embedder) -> np.float32:
    """The share of the context: none where the turn before is about something else, whole where it is about the same."""
    unrelated = embedder.unrelated_cosine
    cosine = (float(own @ last) - unrelated) / (1 - unrelated)
    return np.float32(min(max((cosine - _APART) / (_TOGETHER - _APART), 0.0), 1.0))


def last_of(before: str) -> str:
    """The last of the turns that were said before."""
    return before.rpartition("\n")[2]


def in_context(before: str, text: str) -> str:
    """The text after what was said just before it, as it is embedded."""
    return f"{before}\n{text}" if before else text
