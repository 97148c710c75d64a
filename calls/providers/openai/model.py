"""The language model behind the ``Model`` port: deadlines, one careful retry, warm connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Final

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from calls import metrics
from calls.core.events import ModelFailed
from calls.providers.errors import VendorError
from calls.providers.openai.chat import ChatStrategy
from calls.providers.openai.errors import VENDOR, VENDOR_EXCEPTIONS, classify
from calls.providers.openai.models import traits_of
from calls.providers.openai.responses import ResponsesStrategy
from calls.providers.openai.stream import Request, Strategy

if TYPE_CHECKING:
    from calls.conf import OpenAIConf
    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile
    from calls.ports import Post

#: Longer than a turn; the SDK's own 5 s would mean a new handshake for every answer.
_KEEPALIVE_S: Final = 75.0
_WARM_FOR_S: Final = 50.0
_WARM_TIMEOUT_S: Final = 3.0
_ATTEMPTS: Final = 2
_RETRY_WAIT_S: Final = (0.05, 0.25)
_DEADLINE_SLACK_S: Final = 0.05
_STRATEGIES: Final[dict[str, Strategy]] = {"chat": ChatStrategy(), "responses": ResponsesStrategy()}


class OpenAIModel:
    """One for all calls of a process. Create it when the process starts, in its loop (it reads the certificate store
    for up to 170 ms), and close it at the end.
    """

    def __init__(self, conf: OpenAIConf) -> None:
        if conf.api not in _STRATEGIES:
            raise ValueError(f"api must be one of {', '.join(_STRATEGIES)}, not {conf.api!r}")
        self._conf = conf
        self._used_at = float("-inf")
        timeout = httpx2.Timeout(conf.read_timeout_ms / 1000, connect=conf.connect_timeout_ms / 1000)
        limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE_S)
        self._client = AsyncOpenAI(
            api_key=conf.api_key,
            base_url=conf.base_url,
            timeout=timeout,
            max_retries=0,
            http_client=DefaultAsyncHttpx2Client(timeout=timeout, limits=limits),
        )
        # The SDK imports its resources when they are first used, for a third of a second: not in the first call.
        _ = self._client.chat.completions, self._client.responses, self._client.models

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        """See ``Model.reply``. The deadline to the first word is the policy's, for all attempts together."""
        model = agent.model or self._conf.model
        traits = traits_of(model)
        needs_responses = bool(agent.tools) and not traits.chat_functions
        strategy = _STRATEGIES["responses" if needs_responses else self._conf.api]
        request = Request(agent, ask, model, traits, self._conf.max_output_tokens)
        attempt = _Attempt(self._client, strategy, request, post, self._conf.read_timeout_ms / 1000)
        try:
            await attempt.persistently(agent.policy.first_token_ms / 1000)
        except VendorError as error:
            post(ModelFailed(turn=ask.turn, epoch=ask.epoch, kind=error.kind, retryable=error.retryable))
        except asyncio.CancelledError:
            # The connection of a cancelled answer is closed with it: the next ``warm`` must open another.
            self._used_at = float("-inf")
            raise
        self._used_at = time.monotonic()

    async def warm(self) -> None:
        """Open a connection if none was used lately, so that the next answer does not wait for one. Never raises."""
        if time.monotonic() - self._used_at < _WARM_FOR_S:
            return
        self._used_at = time.monotonic()
        with contextlib.suppress(*VENDOR_EXCEPTIONS):
            await self._client.models.retrieve(self._conf.model, timeout=_WARM_TIMEOUT_S)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


class _Attempt:
    """One question, asked again at most once, and only while nothing of an answer has been passed on."""

    def __init__(self, client: AsyncOpenAI, strategy: Strategy, request: Request, post: Post, stall_s: float) -> None:
        self._client = client
        self._strategy = strategy
        self._request = request
        self._post = post
        self._stall_s = stall_s
        self._begun = False
        self._deadline = 0.0

    async def persistently(self, first_token_s: float) -> None:
        """Ask until the first token's deadline. Raises ``VendorError``."""
        self._deadline = asyncio.get_running_loop().time() + first_token_s
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._wait_s,
            retry=retry_if_exception(self._worth_another),
            reraise=True,
        )
        await retrying(self._once)

    def _worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, VendorError) or not error.retryable or self._begun:
            return False
        left_s = self._deadline - asyncio.get_running_loop().time()
        return left_s > max(error.retry_after_s or 0.0, _RETRY_WAIT_S[1])

    @staticmethod
    def _wait_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after_s if isinstance(error, VendorError) else None
        return max(asked or 0.0, _jitter(*_RETRY_WAIT_S))

    async def _once(self) -> None:
        try:
            await self._ask()
        except VendorError as error:
            metrics.vendor_failed("openai.reply", error.kind)
            raise
        except asyncio.CancelledError:
            # The call waits no longer than this attempt does, and may have seen the deadline first.
            if not self._begun and asyncio.get_running_loop().time() > self._deadline - _DEADLINE_SLACK_S:
                metrics.vendor_failed("openai.reply", "timeout")
            raise

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout_at(self._deadline) as watch:
                await self._stream(watch)
        except TimeoutError as error:
            raise VendorError("hung" if self._begun else "timeout", VENDOR) from error
        except VENDOR_EXCEPTIONS as error:
            raise classify(error, streaming=self._begun) from error

    async def _stream(self, watch: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(self._strategy.stream(self._client, self._request)) as pieces:
            async for piece in pieces:
                self._begun = True
                watch.reschedule(loop.time() + self._stall_s)
                if piece is not None:
                    self._post(piece)


def _jitter(low_s: float, high_s: float) -> float:
    """Any wait between the two: many calls that fail at once must not come back at once."""
    return random.uniform(low_s, high_s)  # noqa: S311 - spreads load, hides nothing
