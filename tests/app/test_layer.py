"""The channel layer between processes, over a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from voiceagent.layer import ChannelLayer


async def test_a_quiet_receive_outlasts_what_redis_lets_it_wait(redis_url: str) -> None:
    layer = ChannelLayer(hosts=[redis_url])
    assert isinstance(get_channel_layer(), ChannelLayer)
    connection = layer.create_pool(0).make_connection()
    assert connection.socket_timeout > layer.brpop_timeout
    layer.brpop_timeout = 0.05  # so that it comes back without a message, and asks again
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    before = await _pops(layer)
    while await _pops(layer) < before + 3:  # each is a blocking pop that found nothing
        assert not receiving.done()
    assert not receiving.done()
    await layer.group_add("board", channel)
    await layer.group_send("board", {"type": "board.rows", "number": 1})
    assert await receiving == {"type": "board.rows", "number": 1}
    await layer.close_pools()


async def _pops(layer: ChannelLayer) -> int:
    told = await layer.connection(0).info("commandstats")
    return int(told.get("cmdstat_bzpopmin", {}).get("calls", 0))


async def test_a_redis_that_is_away_is_told_in_its_own_words() -> None:
    layer = ChannelLayer(hosts=["redis://127.0.0.1:9/0"])
    with pytest.raises(RedisError):
        await layer.group_send("board", {"type": "board.rows"})
    await layer.close_pools()
