"""A stretch of the caller's audio transcribed apart, in one request."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, cast

from calls.providers.cartesia.client import CartesiaClient, parse
from calls.providers.cartesia.errors import VENDOR
from calls.providers.cartesia.link import Persistence
from calls.providers.errors import VendorError

OPERATION: Final = "cartesia.stt_batch"
#: A caller waits for it: one more attempt, at once, if the first was turned down.
_PERSISTENCE: Final = Persistence(attempts=3, first_wait_s=0.1, longest_wait_s=0.4, outlasts_breaker=False)


async def transcribe(client: CartesiaClient, audio: bytes, language: str, limit_s: float) -> str:
    """The words of µ-law 8 kHz; empty where there are none. All attempts together have ``limit_s``. Raises ``VendorError``."""
    deadline = asyncio.get_running_loop().time() + limit_s
    return await _PERSISTENCE.within(limit_s).retrying()(_once, client, audio, language, deadline)


async def _once(client: CartesiaClient, audio: bytes, language: str, deadline: float) -> str:
    with client.attempt(OPERATION):
        answer = await client.within(
            deadline - asyncio.get_running_loop().time(),
            client.sdk.stt.with_raw_response.transcribe(
                file=("caller.raw", audio, "application/octet-stream"),
                model=cast("Literal['ink-whisper']", client.conf.stt_batch_model),
                encoding="pcm_mulaw",
                sample_rate=8000,
                language=cast("Literal['en']", language),  # as in the manual ear
            ),
        )
        text = parse(await answer.read()).get("text")
        if not isinstance(text, str):
            raise VendorError("garbage", VENDOR, detail="a transcription without a text")
        return text
