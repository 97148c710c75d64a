"""Live calls at the carrier, by the official library's async client, behind the ``CallControl`` port."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from calls import metrics
from calls.breakers import UNGUARDED
from calls.providers.errors import VendorError
from calls.providers.twilio.errors import VENDOR_EXCEPTIONS, classify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.breakers import Breaker
    from calls.conf import TwilioConf

_ATTEMPTS: Final = 3
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 1.5
#: After these the carrier has certainly not acted. A redirect must not be carried out twice.
_NOT_CARRIED_OUT: Final = frozenset({"refused", "rate_limited", "overloaded"})


class _AccountCredentials:
    """Account and token as the SDK's provider of credentials.

    Given to the SDK plainly they would go through a parameter of the HTTP library that is about to be removed.
    """

    def __init__(self, account_sid: str, auth_token: str) -> None:
        self._header = aiohttp.encode_basic_auth(account_sid, auth_token)

    def to_auth_strategy(self) -> _AccountCredentials:
        """The SDK asks for a strategy before every request."""
        return self

    def get_auth_string(self) -> str:
        """The ``Authorization`` header."""
        return self._header


class TwilioControl:
    """Hangs up and redirects calls. Create it inside the running loop: its connections belong to it."""

    def __init__(self, conf: TwilioConf, breaker: Breaker = UNGUARDED) -> None:
        self._breaker = breaker
        self._timeout_s = conf.request_timeout_ms / 1000
        # The SDK logs addresses and headers of every request at INFO; they hold account and call ids.
        quiet = logging.getLogger(f"{__name__}.http")
        quiet.setLevel(logging.WARNING)
        self._http = AsyncTwilioHttpClient(logger=quiet)
        self._client = Client(
            account_sid=conf.account_sid,
            http_client=self._http,
            credential_provider=_AccountCredentials(conf.account_sid, conf.auth_token),
            environment={"TWILIO_ACCOUNT_SID": conf.account_sid},  # instead of the process's, with its edge and region
        )
        self._client.api.base_url = conf.api_base_url.rstrip("/")

    async def hang_up(self, call_sid: str) -> None:
        """End the call; one that is over already is a success. Raises ``VendorError``."""
        try:
            await self._update(call_sid, {"status": "completed"}, once=False)
        except VendorError as error:
            if error.kind != "gone":
                raise

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Run new TwiML on the live call. Raises ``VendorError``, kind ``gone`` where it is over."""
        await self._update(call_sid, {"twiml": twiml}, once=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _update(self, call_sid: str, changes: Mapping[str, str], *, once: bool) -> None:
        """``once``: try again only where the carrier cannot have carried it out."""

        def again(error: BaseException) -> bool:
            return isinstance(error, VendorError) and error.retryable and (not once or error.kind in _NOT_CARRIED_OUT)

        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(_FIRST_WAIT_S, _LONGEST_WAIT_S),
            retry=retry_if_exception(again),
            reraise=True,
        ):
            # Each attempt by itself: a breaker that opens between two ends the rest.
            with attempt, self._breaker.admit():
                await self._update_once(call_sid, changes)

    async def _update_once(self, call_sid: str, changes: Mapping[str, str]) -> None:
        try:
            # The SDK's async client takes a timeout and does not pass it on.
            async with asyncio.timeout(self._timeout_s):
                await self._client.calls(call_sid).update_async(**changes)
        except VENDOR_EXCEPTIONS as error:
            failure = classify(error)
            if failure.kind != "gone":  # a call that is over already is no failure of the carrier
                metrics.vendor_failed("twilio.rest", failure.kind)
            raise failure from error
