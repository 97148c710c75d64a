"""What tests of the memory share: vendors' stand-ins behind the address in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from voiceagent.sandbox.control import Handle, SandboxServer, SandboxThread

if TYPE_CHECKING:
    from collections.abc import Iterator


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
