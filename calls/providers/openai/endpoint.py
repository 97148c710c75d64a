"""One model at one address: warm connections, and one attempt at an answer under a breaker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import httpx2
from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

from calls import metrics
from calls.core.events import ModelFinished
from calls.providers.errors import VendorError
from calls.providers.openai.chat import ChatStrategy
from calls.providers.openai.errors import VENDOR, VENDOR_EXCEPTIONS, classify
from calls.providers.openai.models import traits_of
from calls.providers.openai.responses import ResponsesStrategy
from calls.providers.openai.stream import Request, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from calls.breakers import Breaker
    from calls.conf import OpenAIConf
    from calls.core.commands import AskModel
    from calls.core.policy import AgentProfile
    from calls.ports import Post

#: Longer than a turn; the SDK's own 5 s would mean a new handshake for every answer.
_KEEPALIVE_S: Final = 75.0
_WARM_FOR_S: Final = 50.0
_WARM_TIMEOUT_S: Final = 3.0
_STRATEGIES: Final[dict[str, Strategy]] = {"chat": ChatStrategy(), "responses": ResponsesStrategy()}


class Endpoint:
    """Create it in the process's loop (it reads the certificate store for up to 170 ms), and close it at the end.

    ``operation`` names its failures in the metrics, as ``breaker`` does; ``label`` its answers in the record. ``follows_agent``: an
    agent's own choice of a model goes before the configured one.
    """

    def __init__(self, conf: OpenAIConf, breaker: Breaker, operation: str, *, follows_agent: bool) -> None:
        if conf.api not in _STRATEGIES:
            raise ValueError(f"api must be one of {', '.join(_STRATEGIES)}, not {conf.api!r}")
        self.breaker = breaker
        self.operation = operation
        self._conf = conf
        self._follows_agent = follows_agent
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

    def model_for(self, agent: AgentProfile) -> str:
        """The model that answers for this agent."""
        return (agent.model if self._follows_agent else "") or self._conf.model

    async def attempt(self, agent: AgentProfile, ask: AskModel, post: Post, first_s: float, stall_s: float) -> None:
        """Ask once, and post what comes. Raises ``VendorError``.

        ``first_s``: how long it may be silent at first; ``stall_s``: between two pieces. Once this is left, by whatever way,
        nothing more of it is posted: the answer is read in here and nowhere else.
        """
        with self.breaker.admit() as permit:
            try:
                await self._answer(agent, ask, post, first_s, stall_s, permit.answering)
            except BaseException as error:
                # The connection of an answer that was left is closed with it: the next ``warm`` must open another.
                self._used_at = float("-inf")
                if isinstance(error, VendorError):
                    metrics.vendor_failed(self.operation, error.kind)
                raise
        self._used_at = time.monotonic()

    async def _answer(
        self,
        agent: AgentProfile,
        ask: AskModel,
        post: Post,
        first_s: float,
        stall_s: float,
        begins: Callable[[], object],
    ) -> None:
        model = self.model_for(agent)
        traits = traits_of(model)
        needs_responses = bool(agent.tools) and not traits.chat_functions
        strategy = _STRATEGIES["responses" if needs_responses else self._conf.api]
        request = Request(agent, ask, model, traits, self._conf.max_output_tokens)
        loop = asyncio.get_running_loop()
        begun = False
        try:
            async with (
                asyncio.timeout(first_s) as watch,
                contextlib.aclosing(strategy.stream(self._client, request)) as pieces,
            ):
                async for piece in pieces:
                    if not begun:
                        begins()
                    begun = True
                    watch.reschedule(loop.time() + stall_s)
                    if piece is not None:
                        post(replace(piece, model=model) if isinstance(piece, ModelFinished) else piece)
        except TimeoutError as error:
            raise VendorError("hung" if begun else "timeout", VENDOR) from error
        except VENDOR_EXCEPTIONS as error:
            raise classify(error, streaming=begun) from error

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
