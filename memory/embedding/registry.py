"""The local embeddings by name, each loaded once per process."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memory.embedding.port import Embedder

#: The values of LOCAL_EMBEDDING_MODEL.
LOCAL_NAMES = ("minilm", "multilingual")

_loading = Lock()


def local(name: str = "minilm") -> Embedder:
    """The process's one embedder of that name; the first call loads it (some 0.2 s), so call it before the first call.

    Raises ``EmbeddingError`` where its packages are missing, ``ValueError`` for an unknown name.
    """
    if name not in LOCAL_NAMES:
        raise ValueError(f"LOCAL_EMBEDDING_MODEL is {name!r}; it can be {' or '.join(LOCAL_NAMES)}")
    with _loading:
        return _load(name)


@cache
def _load(name: str) -> Embedder:
    if name == "minilm":
        from memory.embedding.minilm import MiniLm

        return MiniLm()
    from memory.embedding.multilingual import MultilingualE5

    return MultilingualE5()
