"""A server that is told of an outside issuer admits its tokens, and says where they are to be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from asgiref.sync import sync_to_async

from memory.models import Access
from tests.app.memory.people import maria
from tests.protocol.conftest import environ_of
from tests.protocol.house import Served, Wire, client
from tests.protocol.issuer import Issuer, issuer

if TYPE_CHECKING:
    from tests.conftest import TestServers

__all__ = ["issuer"]  # a fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(120)]


async def test_an_issuers_token_works_and_its_address_is_told(
    issuer: Issuer, test_servers: TestServers, tmp_path: Any
) -> None:
    told = {
        "MCP_JWT_ISSUER": issuer.conf.issuer,
        "MCP_JWT_JWKS_URL": issuer.conf.jwks_url,
        "MCP_JWT_AUDIENCE": issuer.conf.audience,
    }
    secret, other = await sync_to_async(lambda: (issuer.token(), issuer.token(aud="https://else.example.com")))()
    with Served("uvicorn", tmp_path, **environ_of(test_servers), **told) as served:
        async with client(served.url, secret) as memory:
            assert not (await memory.call_tool("memory_profile", {})).is_error
            assert (await memory.call_tool("memory_profile", {"caller": "+15550100002"})).is_error
        assert (await Wire(served.url).post(other)).status_code == 401
        async with httpx2.AsyncClient() as http:
            said = (await http.get(served.base_url + "/.well-known/oauth-protected-resource/mcp")).json()

    assert said["authorization_servers"] == [issuer.conf.issuer]
    used = await sync_to_async(list)(Access.objects.order_by("at").values_list("by", "outcome", "caller_hash"))
    owner = await sync_to_async(maria)()
    assert used == [("token:desk-7", "done", owner.key_hash), ("token:desk-7", "caller", "")]
