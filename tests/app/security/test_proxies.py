"""Whose word counts for who a client is: that of the proxies that are named, and of nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from voiceagent.conf import site_conf
from voiceagent.env import Env, EnvError
from voiceagent.web import server_config

if TYPE_CHECKING:
    from collections.abc import Iterable


async def seen(proxies: Iterable[str], peer: str, forwarded: str, kind: str = "http") -> tuple[str, str]:
    """Client and scheme of a request as the application sees it."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    config = server_config(app, replace(site_conf(Env({})), trusted_proxies=tuple(proxies)))
    config.load()
    headers = [(b"x-forwarded-for", forwarded.encode()), (b"x-forwarded-proto", b"https")] if forwarded else []
    scope = {"type": kind, "client": (peer, 1), "scheme": kind.replace("websocket", "ws"), "headers": headers}
    await config.loaded_app(scope, None, None)  # type: ignore[arg-type]
    return scopes[0]["client"][0], scopes[0]["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.5", "203.0.113.9", ("203.0.113.9", "https")),
        ("10.0.0.5", "203.0.113.9, 10.0.0.7", ("203.0.113.9", "https")),  # two of ours in a row
        ("10.0.0.5", "127.0.0.1, 203.0.113.9", ("203.0.113.9", "https")),  # what the client claimed before them
        ("10.0.0.5", "", ("10.0.0.5", "http")),
        ("203.0.113.9", "127.0.0.1", ("203.0.113.9", "http")),  # no proxy of ours
        ("127.0.0.1", "198.51.100.1", ("127.0.0.1", "http")),
    ],
)
async def test_a_clients_address_is_what_our_proxies_say(peer: str, forwarded: str, client: tuple[str, str]) -> None:
    assert await seen(["10.0.0.0/8"], peer, forwarded) == client
    socket = await seen(["10.0.0.0/8"], peer, forwarded, "websocket")
    assert socket == (client[0], client[1].replace("http", "ws"))


async def test_without_a_setting_a_proxy_of_this_machine_is_believed() -> None:
    assert await seen(site_conf(Env({})).trusted_proxies, "127.0.0.1", "203.0.113.9") == ("203.0.113.9", "https")
    assert await seen(site_conf(Env({})).trusted_proxies, "10.0.0.5", "203.0.113.9") == ("10.0.0.5", "http")


def test_what_is_no_network_stops_the_start() -> None:
    env = Env({"TRUSTED_PROXIES": "10.0.0.0/8, proxy.example.com"})
    env.networks("TRUSTED_PROXIES", [])
    with pytest.raises(EnvError, match="TRUSTED_PROXIES must be IP addresses or networks"):
        env.check()
    assert Env({"P": "10.0.0.0/8, ::1"}).networks("P", []) == ["10.0.0.0/8", "::1"]
