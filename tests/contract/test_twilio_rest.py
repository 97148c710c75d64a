"""Live calls at the stand-in's REST interface, with the official SDK."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from calls.conf import TwilioConf
from calls.providers.errors import VendorError
from calls.providers.twilio import twiml
from calls.providers.twilio.rest import TwilioControl
from voiceagent.sandbox.twilio.link import EXCHANGE
from voiceagent.sandbox.twilio.resources import CallResource, new_sid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voiceagent.sandbox.control import Handle, SandboxServer

TOKEN = "token-1"


@pytest.fixture
def account(sandbox: SandboxServer) -> Handle:
    handle = sandbox.handle(new_sid("AC"))
    handle.configure(twilio={"auth_token": TOKEN})
    return handle


@pytest.fixture
def call(sandbox: SandboxServer, account: Handle) -> CallResource:
    """A call that is up."""
    made = CallResource(new_sid("CA"), account.key, "+15550001111", "+15550002222", "inbound", "in-progress")
    sandbox._app[EXCHANGE].calls[made.sid] = made
    return made


@asynccontextmanager
async def control_at(url: str, account: str, token: str = TOKEN, timeout_ms: int = 500) -> AsyncIterator[TwilioControl]:
    made = TwilioControl(
        TwilioConf(account, token, "https://example.com", api_base_url=url, request_timeout_ms=timeout_ms)
    )
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def control(sandbox: SandboxServer, account: Handle) -> AsyncIterator[TwilioControl]:
    async with control_at(sandbox.url, account.key) as made:
        yield made


async def test_hanging_up_ends_the_call(
    control: TwilioControl, account: Handle, call: CallResource, no_blocking: None
) -> None:
    await control.hang_up(call.sid)
    assert call.ended
    (update,) = account.journal("twilio.calls.update")
    assert update["form"] == {"Status": "completed"}


async def test_a_call_already_over_is_hung_up(control: TwilioControl, call: CallResource) -> None:
    call.become("completed")
    await control.hang_up(call.sid)
    await control.hang_up(new_sid("CA"))


async def test_redirecting_gives_the_call_new_twiml(
    control: TwilioControl, account: Handle, call: CallResource
) -> None:
    text = twiml.dial("+15550003333", "https://example.com/after", "+15550002222")
    await control.redirect(call.sid, text)
    (update,) = account.journal("twilio.calls.update")
    assert update["form"] == {"Twiml": text}


async def test_redirecting_a_call_that_is_over_is_told(control: TwilioControl, call: CallResource) -> None:
    call.become("completed")
    with pytest.raises(VendorError) as raised:
        await control.redirect(call.sid, twiml.hang_up())
    assert raised.value.kind == "gone"


async def test_a_wrong_token_is_not_tried_again(sandbox: SandboxServer, account: Handle, call: CallResource) -> None:
    async with control_at(sandbox.url, account.key, token="wrong") as control:
        with pytest.raises(VendorError) as raised:
            await control.hang_up(call.sid)
    assert (raised.value.kind, raised.value.status, raised.value.retryable) == ("auth", 401, False)


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limited"), (500, "server"), (503, "overloaded")])
async def test_a_passing_refusal_of_a_hang_up_is_survived_and_a_lasting_one_told(
    control: TwilioControl, account: Handle, call: CallResource, status: int, kind: str
) -> None:
    account.fault("twilio.calls", "refuse", times=0, status=status)
    with pytest.raises(VendorError) as raised:
        await control.hang_up(call.sid)
    assert raised.value.kind == kind
    account.clear_faults()
    account.fault("twilio.calls", "refuse", times=2, status=status)
    await control.hang_up(call.sid)
    assert call.ended


async def test_a_redirect_that_may_have_been_carried_out_is_not_repeated(
    control: TwilioControl, account: Handle, call: CallResource
) -> None:
    account.fault("twilio.calls", "refuse", status=500)
    with pytest.raises(VendorError) as raised:
        await control.redirect(call.sid, twiml.hang_up())
    assert raised.value.kind == "server"
    account.fault("twilio.calls", "refuse", status=429)
    await control.redirect(call.sid, twiml.hang_up())


async def test_a_hanging_carrier_has_a_deadline(sandbox: SandboxServer, account: Handle, call: CallResource) -> None:
    account.fault("twilio.calls", "hang", times=0)
    async with control_at(sandbox.url, account.key, timeout_ms=100) as control:
        began = time.monotonic()
        with pytest.raises(VendorError) as raised:
            await control.redirect(call.sid, twiml.hang_up())
        assert time.monotonic() - began < 0.5
    assert raised.value.kind == "timeout"


async def test_a_hang_up_that_hung_once_is_repeated(
    sandbox: SandboxServer, account: Handle, call: CallResource
) -> None:
    account.fault("twilio.calls", "hang")
    async with control_at(sandbox.url, account.key, timeout_ms=100) as control:
        await control.hang_up(call.sid)
    assert call.ended


async def test_nobody_listening_is_refused(unused_tcp_port: int) -> None:
    async with control_at(f"http://127.0.0.1:{unused_tcp_port}", "AC1") as control:
        with pytest.raises(VendorError) as raised:
            await control.redirect("CA1", twiml.hang_up())
    assert raised.value.kind == "refused"


@asynccontextmanager
async def carrier(answer: Any) -> AsyncIterator[TwilioControl]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with control_at(f"http://127.0.0.1:{runner.addresses[0][1]}", "AC1") as control:
        yield control
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "<html>", "garbage"),
        (500, "<html>", "server"),
        (404, "{}", "gone"),
        (400, '{"code": 21220, "message": "over", "status": 400}', "gone"),
        (400, '{"type": "about:blank", "title": "no", "status": 400, "code": 21220}', "gone"),
    ],
)
async def test_answers_of_every_shape_have_a_kind(status: int, text: str, kind: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with carrier(answer) as control:
        with pytest.raises(VendorError) as raised:
            await control.redirect("CA1", twiml.hang_up())
    assert raised.value.kind == kind


async def test_a_connection_cut_before_the_answer_is_cut() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with carrier(answer) as control:
        with pytest.raises(VendorError) as raised:
            await control.redirect("CA1", twiml.hang_up())
    assert raised.value.kind == "cut"
