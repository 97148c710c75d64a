"""Two models behind one port, over real sockets: retries within a turn's time, the switch, and who is asked next."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from calls.breakerrules import Phase, Ruling
from calls.breakers import Breakers
from calls.conf import OpenAIConf
from calls.core.commands import AskModel, Message
from calls.core.events import ModelAttemptFailed, ModelFailed, ModelFinished, ModelText
from calls.metrics import MODEL_ERRORS
from calls.providers.openai.model import FIRST, SECOND, OpenAIModel
from voiceagent.sandbox.control import Handle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from calls.core.policy import AgentProfile
    from tests.contract.conftest import Heard
    from voiceagent.sandbox.control import SandboxServer

ASK = AskModel(turn=3, epoch=4, messages=(Message("developer", "You answer."), Message("user", "Hello")))
LONG = "This answer is long enough to be broken in its middle by whatever breaks it."


@dataclass
class Two:
    """A model with a second one behind it; each has a key of its own, so that each can be told what goes wrong with it."""

    model: OpenAIModel
    breakers: Breakers
    first: Handle
    second: Handle

    def asked(self) -> tuple[int, int]:
        return len(self.first.journal("openai")), len(self.second.journal("openai"))


@asynccontextmanager
async def two_at(sandbox: SandboxServer, **options: Any) -> AsyncIterator[Two]:
    first, second = sandbox.handle(), sandbox.handle()
    for handle in (first, second):
        handle.configure(llm={"first_token_ms": 1, "inter_token_ms": 0})
    breakers = Breakers()
    url = sandbox.openai_url
    fallback = OpenAIConf(api_key=second.key, base_url=url, model="gpt-5.4-mini")
    model = OpenAIModel(OpenAIConf(api_key=first.key, base_url=url, fallback=fallback, **options), breakers)
    try:
        yield Two(model, breakers, first, second)
    finally:
        await model.aclose()


@pytest.fixture
async def two(sandbox: SandboxServer) -> AsyncIterator[Two]:
    async with two_at(sandbox, read_timeout_ms=400) as made:
        yield made


@pytest.fixture
def quick(agent: AgentProfile) -> AgentProfile:
    """An agent whose callers wait for a first word for 1 s."""
    return replace(agent, policy=replace(agent.policy, first_token_ms=1000))


def said(heard: Heard) -> str:
    return "".join(event.text for event in heard.of(ModelText))


def attempts(heard: Heard) -> list[tuple[str, str]]:
    return [(event.endpoint, event.kind) for event in heard.of(ModelAttemptFailed)]


def errors(kind: str, operation: str) -> float:
    return MODEL_ERRORS.labels(kind, operation)._value.get()


# --- before the first word --------------------------------------------------------------------------------------------


async def test_while_the_first_one_answers_the_second_is_not_asked(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.first.reply("Good morning.")
    await two.model.reply(quick, ASK, heard.post)
    assert (said(heard), two.asked()) == ("Good morning.", (1, 0))
    assert heard.of(ModelFinished)[0].model == "gpt-6-luna"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "refuse", "status": 500}, "server"),
        ({"kind": "refuse", "status": 429, "code": "rate_limit_exceeded", "retry_after_ms": 20_000}, "rate_limited"),
        ({"kind": "refuse", "status": 429, "code": "insufficient_quota"}, "quota"),
        ({"kind": "refuse", "status": 401}, "auth"),
        ({"kind": "refuse", "status": 400}, "bad_request"),
        ({"kind": "hang"}, "timeout"),
        ({"kind": "stall"}, "timeout"),
        ({"kind": "cut"}, "refused"),
        ({"kind": "garbage"}, "garbage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_where_the_first_one_fails_the_second_answers_in_the_same_request(
    two: Two, quick: AgentProfile, heard: Heard, fault: dict[str, Any], kind: str
) -> None:
    before = errors(kind, FIRST)
    two.first.fault("openai", **fault)
    two.first.reply("Never heard.")
    two.second.reply("Here I am.")
    await asyncio.wait_for(two.model.reply(quick, ASK, heard.post), 1)
    assert (said(heard), two.asked()) == ("Here I am.", (1, 1))
    assert attempts(heard) == [(FIRST, kind)]
    assert heard.of(ModelFinished)[0].model == "gpt-5.4-mini"
    assert heard.of(ModelFailed) == []
    assert errors(kind, FIRST) == before + 1


async def test_an_answer_that_comes_after_its_time_is_never_passed_on(
    two: Two, quick: AgentProfile, heard: Heard
) -> None:
    two.first.configure(llm={"first_token_ms": 560})
    two.first.reply("Too late. Too late.")
    two.second.configure(llm={"first_token_ms": 200, "inter_token_ms": 30})
    two.second.reply("One two three four five.")
    await two.model.reply(quick, ASK, heard.post)
    assert said(heard) == "One two three four five."
    assert attempts(heard) == [(FIRST, "timeout")]
    await two.first.wait_for("openai", outcome="disconnected")


async def test_what_may_pass_is_asked_of_the_first_again_where_both_fail(
    two: Two, quick: AgentProfile, heard: Heard
) -> None:
    two.first.fault("openai", "refuse", status=500)
    two.second.fault("openai", "refuse", status=401, times=0)
    two.first.reply("Here I am.")
    await two.model.reply(quick, ASK, heard.post)
    assert (said(heard), two.asked()) == ("Here I am.", (2, 1))
    assert attempts(heard) == [(FIRST, "server"), (SECOND, "auth")]


async def test_where_nobody_can_answer_the_last_failure_is_told_in_time(
    two: Two, quick: AgentProfile, heard: Heard
) -> None:
    two.first.fault("openai", "hang", times=0)
    two.second.fault("openai", "hang", times=0)
    began_s = asyncio.get_running_loop().time()
    await two.model.reply(quick, ASK, heard.post)
    assert 0.8 < asyncio.get_running_loop().time() - began_s < 1.5
    assert attempts(heard) == [(FIRST, "timeout")]
    assert heard.events[-1] == ModelFailed(turn=3, epoch=4, kind="timeout", retryable=True, endpoint=SECOND)


async def test_without_a_key_and_a_cent_asking_again_does_not_help(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.first.fault("openai", "refuse", status=401, times=0)
    two.second.fault("openai", "refuse", status=429, code="insufficient_quota", times=0)
    await two.model.reply(quick, ASK, heard.post)
    assert heard.events[-1] == ModelFailed(turn=3, epoch=4, kind="quota", retryable=False, endpoint=SECOND)
    assert two.asked() == (1, 1)


async def test_the_agents_own_model_is_the_first_ones_alone(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.first.fault("openai", "refuse", status=500)
    two.second.reply("Here I am.")
    await two.model.reply(replace(quick, model="gpt-4o"), ASK, heard.post)
    assert two.first.journal("openai")[0]["body"]["model"] == "gpt-4o"
    assert two.second.journal("openai")[0]["body"]["model"] == "gpt-5.4-mini"


async def test_cancelled_between_two_attempts_nothing_more_is_asked(
    sandbox: SandboxServer, agent: AgentProfile, heard: Heard
) -> None:
    async with two_at(sandbox) as two:
        two.first.fault("openai", "refuse", status=500, times=0)
        two.second.fault("openai", "hang", times=0)
        task = asyncio.create_task(two.model.reply(agent, ASK, heard.post))
        await two.second.wait_for("openai")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert attempts(heard) == [(FIRST, "server")]
        assert two.asked() == (1, 1)
        assert two.breakers.of(SECOND).view().attempts == 0


# --- after the first word ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"), [("cut", "cut"), ("stall", "hung"), ("garbage", "garbage"), ("error", "server")]
)
async def test_a_broken_answer_is_told_and_the_next_request_goes_to_the_other(
    two: Two, quick: AgentProfile, heard: Heard, fault: Any, kind: str
) -> None:
    two.first.fault("openai", fault, after=3)
    two.first.reply(LONG)
    two.second.reply("The rest.")
    await two.model.reply(quick, ASK, heard.post)
    assert LONG.startswith(said(heard))
    failed = heard.events[-1]
    assert failed == ModelFailed(turn=3, epoch=4, kind=kind, retryable=True, endpoint=FIRST)
    assert two.asked() == (1, 0)
    await two.model.reply(quick, replace(ASK, avoid=FIRST), heard.post)
    assert two.asked() == (1, 1)
    assert said(heard).endswith("The rest.")


async def test_the_one_to_avoid_is_asked_where_the_other_fails(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.second.fault("openai", "refuse", status=401, times=0)
    two.first.reply("The rest.")
    await two.model.reply(quick, replace(ASK, avoid=FIRST), heard.post)
    assert (said(heard), two.asked()) == ("The rest.", (1, 1))


async def test_a_request_has_the_time_that_the_turn_has_left(two: Two, agent: AgentProfile, heard: Heard) -> None:
    two.first.fault("openai", "hang", times=0)
    two.second.fault("openai", "hang", times=0)
    began_s = asyncio.get_running_loop().time()
    await two.model.reply(agent, replace(ASK, within_ms=300), heard.post)
    assert asyncio.get_running_loop().time() - began_s < 1


# --- breakers ---------------------------------------------------------------------------------------------------------


async def test_an_open_breaker_costs_no_time_and_no_request(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.breakers.of(FIRST).trip("operator", "a test")
    two.second.reply("Here I am.")
    await two.model.reply(quick, ASK, heard.post)
    assert (said(heard), two.asked(), attempts(heard)) == ("Here I am.", (0, 1), [])


async def test_with_both_open_it_is_told_at_once(two: Two, quick: AgentProfile, heard: Heard) -> None:
    for name in (FIRST, SECOND):
        two.breakers.of(name).trip("operator", "a test")
    await two.model.reply(quick, ASK, heard.post)
    assert heard.events == [ModelFailed(turn=3, epoch=4, kind="open", retryable=False, endpoint=FIRST)]
    assert two.asked() == (0, 0)


async def test_a_key_that_is_refused_opens_its_breaker_alone(two: Two, quick: AgentProfile, heard: Heard) -> None:
    two.first.fault("openai", "refuse", status=401, times=0)
    two.second.reply("Here I am.")
    two.second.reply("Here I am again.")
    await two.model.reply(quick, ASK, heard.post)
    await two.model.reply(quick, ASK, heard.post)
    assert (two.breakers.of(FIRST).phase, two.breakers.of(SECOND).phase) == (Phase.OPEN, Phase.CLOSED)
    assert two.asked() == (1, 2)


async def test_a_probe_lets_the_others_in_with_its_first_word(two: Two, quick: AgentProfile, heard: Heard) -> None:
    breaker = two.breakers.of(FIRST)
    breaker.learn(Ruling(epoch=1, phase=Phase.OPEN, until_ms=1), [], 0, 0)
    two.first.fault("openai", "stall", after=3)
    two.first.reply(LONG)
    two.first.reply("Here I am.")
    probing = asyncio.create_task(two.model.reply(quick, ASK, heard.post))
    await heard.until(lambda: bool(heard.of(ModelText)))
    assert (breaker.phase, probing.done()) == (Phase.CLOSED, False)
    other = type(heard)()
    await two.model.reply(quick, ASK, other.post)
    assert (said(other), two.asked()) == ("Here I am.", (2, 0))
    await probing


async def test_a_first_model_that_is_lost_in_the_middle_is_not_told_as_hopeless(
    two: Two, quick: AgentProfile, heard: Heard
) -> None:
    """Its quota is gone, but the other one can go on."""
    two.first.fault("openai", "error", after=3, code="insufficient_quota")
    two.first.reply(LONG)
    await two.model.reply(quick, ASK, heard.post)
    assert heard.events[-1] == ModelFailed(turn=3, epoch=4, kind="quota", retryable=True, endpoint=FIRST)
    two.breakers.of(SECOND).trip("operator", "a test")
    await two.model.reply(quick, ASK, heard.post)
    assert heard.events[-1] == ModelFailed(turn=3, epoch=4, kind="open", retryable=False, endpoint=FIRST)
