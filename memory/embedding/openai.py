"""OpenAI's embeddings through the official SDK: a second vector of a row, for the console and MCP, never during a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openai

from memory.core.text import clean
from memory.embedding.port import EmbeddingError
from memory.embedding.vectors import unit
from memory.guards import TurnedAway, guarded
from memory.modelspans import answered, model_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from openai.types import CreateEmbeddingResponse

_OPERATION = "openai.embeddings"
DEFAULT_MODEL = "text-embedding-3-small"
#: The vendor's limits, kept in bytes because a token is at least one: 8,192 tokens for a text, 300,000 for a request.
_TEXT_BYTES = 8_000
_BATCH_BYTES = 250_000
_BATCH_TEXTS = 128
#: Full lengths by model; the third generation can be shortened by ``dimension``.
_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_SHORTENED = "text-embedding-3-"


class OpenAIEmbedding:
    """An embedding model of OpenAI, or of what speaks its protocol at ``base_url``.

    Nothing is retried here: ``EmbeddingError.retryable`` tells the caller, who knows the deadline. ``dimension`` must be
    given for a model that is not OpenAI's own. Raises ``ValueError`` for a dimension that the model cannot have.
    """

    unrelated_cosine = 0.1

    def __init__(
        self, api_key: str, base_url: str, model: str = DEFAULT_MODEL, dimension: int = 0, timeout_s: float = 10.0
    ) -> None:
        full = _DIMENSIONS.get(model, 0)
        if not (dimension or full) or (full and dimension > full):
            raise ValueError(f"{model} needs a dimension" + (f" of at most {full}" if full else ""))
        self._model = model
        self.dimension = dimension or full
        self.name = model if self.dimension == full else f"{model}-{self.dimension}"
        self._asked_dimension = (
            self.dimension if model.startswith(_SHORTENED) and self.dimension != full else openai.omit
        )
        self._client = openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout_s)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """See ``Embedder``."""
        (vector,) = self.embed_many([text])
        return unit(vector)

    def embed_many(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder``; the first 8,000 bytes of each text are read, in requests of bounded size."""
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        bounded = [_bounded(text) for text in texts]
        for places in _batches(bounded):
            found[places] = self._request([bounded[place] for place in places])
        return unit(found)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _request(self, texts: list[str]) -> NDArray[np.float32]:
        with model_span("embeddings", self._model, texts=len(texts)) as span:
            answer = self._answer(texts)
            answered(span, answer)
        vectors = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        if [len(vector) for vector in vectors] != [self.dimension] * len(texts):
            raise EmbeddingError(f"{self._model} gave other vectors than {len(texts)} of dimension {self.dimension}")
        return np.array(vectors, dtype=np.float32)

    def _answer(self, texts: list[str]) -> CreateEmbeddingResponse:
        try:
            with guarded(_OPERATION):
                return self._client.embeddings.create(model=self._model, input=texts, dimensions=self._asked_dimension)
        except TurnedAway:
            raise EmbeddingError(f"{self._model} fails too often at the moment and was not asked") from None
        except openai.APIStatusError as error:
            # The vendor's message may quote what was sent: the status alone says enough.
            retryable = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise EmbeddingError(f"{self._model} answered {error.status_code}", retryable=retryable) from None
        except openai.APIConnectionError as error:
            late = isinstance(error, openai.APITimeoutError)
            raise EmbeddingError(
                f"{self._model} " + ("did not answer in time" if late else "cannot be reached"), retryable=True
            ) from None
        except openai.OpenAIError as error:
            raise EmbeddingError(f"{self._model} gave an answer that is none: {type(error).__name__}") from None


def _bounded(text: str) -> str:
    return clean(text).encode()[:_TEXT_BYTES].decode(errors="ignore")


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """The places of the texts that have content, in batches of bounded length."""
    batch: list[int] = []
    size = 0
    for place, text in enumerate(texts):
        length = len(text.encode())
        if batch and (size + length > _BATCH_BYTES or len(batch) == _BATCH_TEXTS):
            yield batch
            batch, size = [], 0
        if text:
            batch.append(place)
            size += length
    if batch:
        yield batch
