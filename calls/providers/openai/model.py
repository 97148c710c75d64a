"""The language model behind the ``Model`` port: one or two models, retries within a turn's budget, and the switch.

A request is tried until something of an answer has been passed on, its time is over, or no attempt can help. The other
model comes next wherever there is one; the same one again only for what may pass, after a pause. Attempts follow each other: the
one that lost is over before the next begins, so it can post nothing any more. What fails after its first word is told to the
core, which knows what was heard and asks for the rest (``docs/decisions/0020-the-second-model.md``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from calls.breakerrules import Phase
from calls.breakers import UNGUARDED
from calls.core.events import ModelAttemptFailed, ModelFailed
from calls.providers.errors import VendorError
from calls.providers.openai.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calls.breakers import Breakers
    from calls.conf import OpenAIConf
    from calls.core.commands import AskModel
    from calls.core.events import Event
    from calls.core.policy import AgentProfile
    from calls.ports import Post

FIRST, SECOND = "openai.reply", "openai.reply_second"

_ATTEMPTS: Final = 3
#: The pause before the same model is asked again: drawn from up to 0.1 s, then from up to twice that.
_PAUSE: Final = wait_random_exponential(multiplier=0.1, max=0.4)
#: The share of the time for a first word that the first one asked has while another one waits behind it.
_SHARE: Final = 0.5
#: Of a stream that has begun, how long it may pause, as a share of the time for a first word: the core's own patience is longer.
_STALL_SHARE: Final = 0.6
#: So much earlier than the core's deadline is ours: who failed, and how, is then told by who knows it.
_MARGIN_S: Final = 0.1


class OpenAIModel:
    """One for all calls of a process. Create it when the process starts, in its loop, and close it at the end."""

    def __init__(self, conf: OpenAIConf, breakers: Breakers | None = None) -> None:
        models = [(FIRST, conf)] if conf.fallback is None else [(FIRST, conf), (SECOND, conf.fallback)]
        self._read_timeout_s = conf.read_timeout_ms / 1000
        self._endpoints = [
            Endpoint(its, breakers.of(name) if breakers is not None else UNGUARDED, name, follows_agent=name == FIRST)
            for name, its in models
        ]

    async def reply(self, agent: AgentProfile, ask: AskModel, post: Post) -> None:
        """See ``Model.reply``. The time to the first word is the request's, for all attempts together."""
        within_s = (ask.within_ms or agent.policy.first_token_ms) / 1000
        stall_s = min(self._read_timeout_s, agent.policy.first_token_ms / 1000 * _STALL_SHARE)
        await _Request(self._endpoints, agent, ask, post, within_s, stall_s).run()

    async def warm(self) -> None:
        """Have a connection to each open, so that the next answer does not wait for one. Never raises."""
        await asyncio.gather(*(endpoint.warm() for endpoint in self._endpoints))

    async def aclose(self) -> None:
        """Close the connections."""
        for endpoint in self._endpoints:
            await endpoint.aclose()


class _Request:
    """One request of one call, with all its attempts."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        agent: AgentProfile,
        ask: AskModel,
        post: Post,
        within_s: float,
        stall_s: float,
    ) -> None:
        self._agent = agent
        self._ask = ask
        self._post = post
        self._stall_s = stall_s
        self._begun = False
        self._is_first = True
        # Sorting is stable: the one that failed in this turn stands last.
        self._order = sorted(endpoints, key=lambda endpoint: endpoint.operation == ask.avoid)
        self._lost: set[str] = set()
        self._at = self._order[0]
        self._deadline_s = asyncio.get_running_loop().time() + within_s - min(_MARGIN_S, within_s / 10)

    async def run(self) -> None:
        """Ask until there is an answer, or tell why there is none."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._pause_s,
            retry=retry_if_exception(self._is_worth_another),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            await retrying(self._once)
        except VendorError as error:
            self._note(error)
            turn, epoch = self._ask.turn, self._ask.epoch
            helps = bool(self._next(error))
            self._post(
                ModelFailed(turn=turn, epoch=epoch, kind=error.kind, retryable=helps, endpoint=self._at.operation)
            )

    async def _once(self) -> None:
        first_s = self._left_s()
        if self._is_first and self._usable(self._order[1:]):
            first_s *= _SHARE
        self._at, self._is_first = self._order[0], False
        await self._at.attempt(self._agent, self._ask, self._pass_on, first_s, self._stall_s)

    def _pass_on(self, event: Event) -> None:
        self._begun = True
        self._post(event)

    def _left_s(self) -> float:
        return self._deadline_s - asyncio.get_running_loop().time()

    def _usable(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Those worth asking: not lost in this request, and not held open by their breaker."""
        shut = (Phase.OPEN, Phase.FORCED)
        return [x for x in endpoints if x.operation not in self._lost and x.breaker.phase not in shut]

    def _next(self, error: VendorError) -> list[Endpoint]:
        """Whom to ask next, the best first: the others, then, for what may pass, the same one again."""
        again = [self._at] if error.retryable else []
        return self._usable([x for x in self._order if x is not self._at] + again)

    def _note(self, error: VendorError) -> None:
        if not error.retryable:
            self._lost.add(self._at.operation)

    def _is_worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, VendorError) or self._begun:
            return False
        self._note(error)
        following = self._next(error)
        if not following:
            return False
        pause_s = (error.retry_after_s or 0.0) if following[0] is self._at else 0.0
        self._order = following
        return self._left_s() > pause_s + _MARGIN_S

    def _pause_s(self, state: RetryCallState) -> float:
        if self._order[0] is not self._at:
            return 0.0
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.retry_after_s if isinstance(error, VendorError) else None
        return max(asked_s or 0.0, _PAUSE(state))

    def _tell(self, state: RetryCallState) -> None:
        """An attempt failed and another follows: on record, unless it was a breaker's refusal."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, VendorError) and error.kind != "open":
            turn, epoch = self._ask.turn, self._ask.epoch
            self._post(ModelAttemptFailed(turn=turn, epoch=epoch, kind=error.kind, endpoint=self._at.operation))
