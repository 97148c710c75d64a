"""A scripted stand-in for each test, and clients of the vendors' own SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cartesia import AsyncCartesia
from openai import AsyncOpenAI

from voiceagent.sandbox.control import Handle, SandboxServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxServer]:
    async with SandboxServer() as server:
        yield server


@pytest.fixture
def handle(sandbox: SandboxServer) -> Handle:
    handle = sandbox.handle()
    handle.configure(tts={"first_byte_ms": 5, "speed": 50}, llm={"first_token_ms": 0, "inter_token_ms": 0})
    return handle


@pytest.fixture
async def cartesia(sandbox: SandboxServer, handle: Handle) -> AsyncIterator[AsyncCartesia]:
    async with AsyncCartesia(
        api_key=handle.key, base_url=sandbox.url, websocket_base_url=sandbox.ws_url, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def openai(sandbox: SandboxServer, handle: Handle) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=handle.key, base_url=sandbox.openai_url, max_retries=0, timeout=2.0) as client:
        yield client
