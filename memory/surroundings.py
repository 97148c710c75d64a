"""What the memory is told by Django's settings: keys and addresses. The one place in ``memory`` that reads them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from memory.crypto import Keyring
from memory.embedding import registry
from memory.loopredis import loop_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memory.conf import McpConf
    from memory.embedding.openai import OpenAIEmbedding
    from memory.embedding.port import Embedder

_TIMEOUT_S = 2.0
#: What the column of the second embedding holds (``memory.models.caller.OPENAI_DIMENSIONS``).
_SECOND_DIMENSIONS = 1536


@dataclass(frozen=True, slots=True)
class Access:
    """A language model, and where it is. ``base_url`` ends in ``/v1``."""

    api_key: str = field(repr=False)
    base_url: str
    model: str


def caller_secret() -> str:
    """The key of ``memory.callers.caller_key``, and of every other keyed hash that outlives its caller."""
    return str(settings.CALLER_HASH_KEY)


def keyring() -> Keyring:
    """The keys that seal callers' keys."""
    return _keyring(tuple(settings.MEMORY_KEYS))


@lru_cache(maxsize=4)
def _keyring(secrets: tuple[str, ...]) -> Keyring:
    return Keyring(secrets)


def embedder() -> Embedder:
    """The local embedding of every row; the first use loads it. Raises ``memory.embedding.port.EmbeddingError``."""
    return registry.local(settings.LOCAL_EMBEDDING_MODEL)


def second_embedder() -> OpenAIEmbedding | None:
    """The embedding for searches outside calls, to be closed after use; ``None`` where none is named."""
    model = settings.OPENAI_EMBEDDING_MODEL
    if not model:
        return None
    # Only here: the package takes most of a second to import, and most processes never ask this model.
    from memory.embedding.openai import OpenAIEmbedding

    return OpenAIEmbedding(settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL, model, _SECOND_DIMENSIONS)


def distil_access() -> Access | None:
    """The model that reads conversations for facts; ``None`` where the rules do it alone."""
    model = settings.OPENAI_DISTIL_MODEL
    return Access(settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL, model) if model else None


def new_redis() -> redis.Redis:
    """A client of L1, connected at its first use. Its answers are bytes. A Redis that is away is not waited for."""
    return redis.Redis.from_url(
        redis_url(),
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )


def new_async_redis() -> redis.asyncio.Redis:
    """The same for the event loop. Reads wait as long as they are let."""
    return loop_client(redis_url(), socket_timeout=None, socket_connect_timeout=_TIMEOUT_S)


def redis_url() -> str:
    """Where Redis is."""
    return str(settings.REDIS_URL)


def mcp_conf() -> McpConf:
    """What the MCP server is told."""
    conf: McpConf = settings.MCP
    return conf


def allowed_hosts() -> Sequence[str]:
    """The names under which this server may be asked, as Django takes them."""
    return tuple(settings.ALLOWED_HOSTS)


@contextmanager
def redis_client() -> Iterator[redis.Redis]:
    """A client as ``new_redis``, closed at the end."""
    client = new_redis()
    try:
        yield client
    finally:
        client.close()
