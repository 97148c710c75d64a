"""What every embedding is: texts in, unit vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class EmbeddingError(Exception):
    """Texts could not be embedded. ``retryable`` says whether the same call may succeed later."""

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


class Embedder(Protocol):
    """One embedding model. Every method may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What stands with each vector: vectors of two names are never compared."""
        ...

    @property
    def dimension(self) -> int:
        """The length of each vector."""
        ...

    @property
    def unrelated_cosine(self) -> float:
        """The cosine of a question with a text that has nothing to do with it: ``Ranking`` counts from there."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector ``(dimension,)`` of a question, of length 1; zeros for a text without content.

        A question longer than the model reads is cut. Raises ``EmbeddingError``.
        """
        ...

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors ``(len(texts), dimension)`` of remembered texts, each of length 1; zeros for one without content.

        Raises ``EmbeddingError``.
        """
        ...
