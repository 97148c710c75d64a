"""What the tests of the memory share: vendors' stand-ins, an empty Redis, and the memory of a process as calls have it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from memory import surroundings
from memory.manager import MCPMemoryManager
from memory.ringing import CallMemories
from memory.services import cards, correcting
from memory.stores.l1 import L1
from tests.app.memory.operators import Cast, make_cast
from tests.app.memory.people import MONDAY, maria
from tests.app.memory.talks import FIRST, heard, talk
from voiceagent.sandbox.control import Handle, SandboxServer, SandboxThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from memory.people import Person


@pytest.fixture(scope="session")
def vendors() -> Iterator[SandboxServer]:
    """All vendors, in a thread."""
    with SandboxThread() as server:
        yield server


@pytest.fixture
def openai_at(vendors: SandboxServer, settings: Any) -> Handle:
    """OpenAI as the settings name it, with a credential of this test's own, to be instructed."""
    handle = vendors.handle()
    settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = vendors.openai_url, handle.key
    return handle


@pytest.fixture
def manager(redis_url: str) -> Iterator[MCPMemoryManager]:
    """The door, on this session's empty Redis and the real embedding."""
    with surroundings.redis_client() as client:
        yield MCPMemoryManager(surroundings.embedder, L1(client))


@pytest_asyncio.fixture
async def calls(manager: MCPMemoryManager) -> AsyncIterator[CallMemories]:
    """The memories of a process's calls, listening for changes."""
    database = ThreadPoolExecutor(2, "memory-database")
    memories = CallMemories(manager, database)
    memories.start()
    yield memories
    await memories.aclose()
    database.shutdown(wait=True)


@pytest.fixture
def cast(db: None) -> Cast:
    """Operators with different permissions."""
    return make_cast()


@pytest.fixture
def known(db: None, redis_url: str) -> Person:
    """Maria: a conversation, a name, a fact that was heard, and a card."""
    person = maria()
    talk(person)
    correcting.store(person, "", "", slot="identity.name", value="Maria Rossi", by="operator:ann", now=MONDAY)
    heard(person, "Customer number: 4711X", (FIRST, "4711 X"), value="4711X", slot="identity.account")
    cards.build(person, now=MONDAY)
    return person
