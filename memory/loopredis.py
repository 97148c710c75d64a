"""Redis for code in the event loop: a client that says in Redis's own words that a connection is lost, and leaves none open.

Under uvloop, which serves in production, writing to a connection whose other side has gone raises a bare ``RuntimeError``
(MagicStack/uvloop#506) where asyncio's own loop lets the next read fail. To a caller that is prepared for ``RedisError`` it is
a crash, and the client would not try a fresh connection.

redis-py's client and pool end in tasks of their own. Who is cancelled at that moment, a page that was left for one, cancels
those before they begin, and the connections would stay until they are collected. Here the end has no pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    _Base = AbstractConnection
else:
    _Base = object


class _Honest(_Base):
    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*args, **options)
        except RuntimeError as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection is closed") from error


class _Plain(_Honest, Connection):
    pass


class _Tls(_Honest, SSLConnection):
    pass


class _Unix(_Honest, UnixDomainSocketConnection):
    pass


_HONEST: Final[dict[type, type[AbstractConnection]]] = {
    Connection: _Plain,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


class _Pool(ConnectionPool):
    async def aclose(self) -> None:
        await self.disconnect()  # first: what redis-py does before it may wait
        await super().aclose()

    async def disconnect(self, inuse_connections: bool = True) -> None:
        used = self._in_use_connections if inuse_connections else ()
        for connection in [*self._available_connections, *used]:
            await connection.disconnect(nowait=True)


class _Client(Redis):
    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


def loop_client(url: str, **options: Any) -> Redis:
    """A client for this address, with the options of ``redis.asyncio.Redis.from_url``. Raises only ``RedisError`` for a
    Redis that is away."""
    pool: ConnectionPool = _Pool.from_url(url, **options)
    pool.connection_class = _HONEST[pool.connection_class]
    return _Client.from_pool(pool)
