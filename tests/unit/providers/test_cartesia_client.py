"""How the vendor's client is set up."""

import ssl

import pytest

from calls.conf import CartesiaConf
from calls.providers.cartesia.client import CartesiaClient, language_code, parse
from calls.providers.errors import VendorError


@pytest.mark.parametrize(
    ("base", "socket_base", "secure"),
    [
        ("https://api.cartesia.ai", "wss://api.cartesia.ai", True),
        ("http://127.0.0.1:9000/", "ws://127.0.0.1:9000", False),
    ],
)
def test_the_base_address_decides_about_tls_for_sockets_too(base: str, socket_base: str, secure: bool) -> None:
    client = CartesiaClient(CartesiaConf(api_key="k", base_url=base))
    assert client.sdk.websocket_base_url == socket_base
    assert isinstance(dict(client.socket_options).get("ssl"), ssl.SSLContext) == secure


def test_the_sdk_retries_nothing_and_compresses_nothing() -> None:
    client = CartesiaClient(CartesiaConf(api_key="k", connect_timeout_ms=1234))
    assert client.sdk.max_retries == 0
    assert client.socket_options["compression"] is None
    assert client.sdk.timeout.connect == 1.234  # type: ignore[union-attr]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff"])
def test_what_is_no_object_is_garbage(raw: bytes) -> None:
    with pytest.raises(VendorError) as raised:
        parse(raw)
    assert raised.value.kind == "garbage"


@pytest.mark.parametrize(("language", "code"), [("en", "en"), ("en-GB", "en"), ("pt_BR", "pt"), ("DE", "de")])
def test_languages_go_by_their_first_part(language: str, code: str) -> None:
    assert language_code(language) == code
