"""Circuit breakers where vendors are asked outside the live call: the carrier's REST interface, and the memory's requests."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from calls.breakerrules import OPERATIONS, Phase, Rules
from calls.breakers import Breaker, Breakers, Env
from calls.conf import TwilioConf
from calls.providers.errors import VendorError
from calls.providers.twilio import twiml
from calls.providers.twilio.rest import TwilioControl
from memory import guards as memory_guards
from memory.core import distil
from memory.embedding.openai import OpenAIEmbedding
from memory.embedding.port import EmbeddingError
from memory.services.asking import Asker, AskFailed
from memory.surroundings import Access
from voiceagent import guards
from voiceagent.sandbox.twilio.link import EXCHANGE
from voiceagent.sandbox.twilio.resources import CallResource, new_sid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voiceagent.sandbox.control import Handle, SandboxServer

RULES = Rules(attempts=3, pause_ms=1000, jitter=0.0)


class Time:
    ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breakers(time: Time) -> Breakers:
    made = Breakers(dict.fromkeys(OPERATIONS, RULES), Env(time))
    guards.install(made)
    return made


@pytest.fixture
def account(sandbox: SandboxServer) -> Handle:
    handle = sandbox.handle(new_sid("AC"))
    handle.configure(twilio={"auth_token": "t"})
    return handle


@pytest.fixture
async def control(sandbox: SandboxServer, account: Handle, breakers: Breakers) -> AsyncIterator[TwilioControl]:
    conf = TwilioConf(account.key, "t", "https://example.com", api_base_url=sandbox.url, request_timeout_ms=500)
    made = TwilioControl(conf, breakers.of("twilio.rest"))
    yield made
    await made.aclose()


def failures(operation: str, kind: str) -> float:
    """Attempts that were made and failed."""
    vendor = operation.split(".", 1)[0]
    return REGISTRY.get_sample_value(f"{vendor}_error_total", {"operation": operation, "kind": kind}) or 0.0


def new_call(sandbox: SandboxServer, account: Handle) -> CallResource:
    made = CallResource(new_sid("CA"), account.key, "+15550001111", "+15550002222", "inbound", "in-progress")
    sandbox._app[EXCHANGE].calls[made.sid] = made
    return made


async def test_a_carrier_that_fails_is_left_alone_until_a_probe_does_well(
    sandbox: SandboxServer, account: Handle, control: TwilioControl, breakers: Breakers, time: Time
) -> None:
    call = new_call(sandbox, account)
    account.fault("twilio.calls", "refuse", times=0, status=503)
    before = failures("twilio.rest", "overloaded")
    with pytest.raises(VendorError, match="overloaded"):
        await control.hang_up(call.sid)
    with pytest.raises(VendorError, match="open"):
        await control.hang_up(call.sid)
    assert failures("twilio.rest", "overloaded") == before + RULES.attempts
    account.clear_faults()
    time.ms += 1000
    await control.hang_up(call.sid)
    assert call.ended
    assert breakers.of("twilio.rest").phase is Phase.CLOSED


async def test_calls_that_are_over_open_nothing(control: TwilioControl, breakers: Breakers) -> None:
    for _ in range(5):
        with pytest.raises(VendorError, match="gone"):
            await control.redirect(new_sid("CA"), twiml.hang_up())
    assert breakers.of("twilio.rest").phase is Phase.CLOSED


async def test_a_wrong_token_opens_at_once(sandbox: SandboxServer, account: Handle, breakers: Breakers) -> None:
    conf = TwilioConf(account.key, "wrong", "https://example.com", api_base_url=sandbox.url)
    control = TwilioControl(conf, breakers.of("twilio.rest"))
    with pytest.raises(VendorError, match="auth"):
        await control.hang_up("CA1")
    assert breakers.of("twilio.rest").phase is Phase.OPEN
    await control.aclose()


async def test_the_memorys_model_is_not_asked_while_it_fails(
    sandbox: SandboxServer, vendor: Handle, breakers: Breakers
) -> None:
    vendor.fault("openai.structured", "refuse", times=0, status=500)
    before = failures("openai.distil", "server")

    def ask() -> str:
        with Asker(Access(vendor.key, sandbox.openai_url, "gpt-6-luna")) as asker:
            return asker._once("s", "u", "facts", distil.SCHEMA)

    for _ in range(RULES.attempts):
        with pytest.raises(AskFailed, match="status_500"):
            await asyncio.to_thread(ask)
    with pytest.raises(AskFailed, match="open") as failed:
        await asyncio.to_thread(ask)
    assert failed.value.retryable  # by a later run of the task
    assert failures("openai.distil", "server") == before + RULES.attempts
    assert breakers.of("openai.embeddings").phase is Phase.CLOSED


async def test_an_open_breaker_is_not_asked_again_within_one_question(breakers: Breakers) -> None:
    breakers.of("openai.distil").trip("ann", "maintenance")
    with Asker(Access("k", "http://127.0.0.1:9/v1", "m")) as asker, pytest.raises(AskFailed, match="open"):
        await asyncio.wait_for(asyncio.to_thread(asker.ask, "s", "u", name="n", schema={}), 1)


async def test_the_second_embedding_is_not_asked_while_it_fails(
    sandbox: SandboxServer, vendor: Handle, breakers: Breakers
) -> None:
    vendor.fault("openai.embeddings", "refuse", times=0, status=500)
    with closing(OpenAIEmbedding(vendor.key, sandbox.openai_url)) as embedder:
        for _ in range(RULES.attempts):
            with pytest.raises(EmbeddingError, match="answered 500"):
                await asyncio.to_thread(embedder.embed_query, "York")
        with pytest.raises(EmbeddingError, match="was not asked"):
            await asyncio.to_thread(embedder.embed_query, "York")


def test_a_bug_of_ours_says_nothing_about_the_vendor(breakers: Breakers) -> None:
    for _ in range(RULES.attempts):
        with pytest.raises(ZeroDivisionError), memory_guards.guarded("openai.distil"):
            raise ZeroDivisionError
    assert breakers.of("openai.distil").view().attempts == 0


def test_the_metrics_show_the_phase() -> None:
    breakers = Breakers({"twilio.rest": RULES}, Env(Time()))
    breakers.expose()

    def shown() -> set[str]:
        phases = {phase.value for phase in Phase}
        labels = ({"breaker": "twilio.rest", "phase": phase} for phase in phases)
        return {one["phase"] for one in labels if REGISTRY.get_sample_value("breaker_state", one)}

    breaker: Breaker = breakers.of("twilio.rest")
    assert shown() == {"closed"}
    breaker.admit().failed("quota")
    assert shown() == {"open"}
    with pytest.raises(VendorError):
        breaker.admit()
    assert REGISTRY.get_sample_value("breaker_refused_total", {"breaker": "twilio.rest"})
    assert REGISTRY.get_sample_value("breakers_alone") == 1
