"""What the carrier posts to the server about a call: the standard fields, status callbacks, stream callbacks."""

from __future__ import annotations

import contextlib
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import aiohttp

from voiceagent.sandbox.carrier import events, twiml
from voiceagent.sandbox.carrier.signing import post_signed
from voiceagent.sandbox.twilio.resources import API_VERSION

if TYPE_CHECKING:
    from voiceagent.sandbox.carrier.call import PhoneCall
    from voiceagent.sandbox.carrier.network import Carrier


class Reports:
    """Requests about one call, signed."""

    def __init__(self, call: PhoneCall, carrier: Carrier) -> None:
        self._call, self._carrier = call, carrier
        self._sequence = 0

    def fields(self, status: str) -> dict[str, str]:
        """The standard fields of a request about the call."""
        return {
            "CallSid": self._call.call_sid,
            "AccountSid": self._carrier.account_sid,
            "From": self._call.caller,
            "To": self._call.called,
            "Caller": self._call.caller,
            "Called": self._call.called,
            "CallStatus": status,
            "Direction": self._call.direction,
            "ApiVersion": API_VERSION,
            "FromCity": "",
            "FromState": "CA",
            "FromZip": "",
            "FromCountry": "US",
            "StirVerstat": "TN-Validation-Passed-A",
        }

    async def post(self, url: str, fields: dict[str, str]) -> tuple[int, str, str]:
        token = "forged" if self._call.faults.forged_webhook else self._carrier.auth_token
        if self._call.faults.unsigned:
            async with self._carrier.session.post(self._carrier.reach(url), data=fields) as response:
                return response.status, response.content_type, await response.text()
        return await post_signed(self._carrier.session, url, fields, token, reach=self._carrier.reach)

    async def stream_status(self, noun: twiml.StreamNoun, sid: str, event: str, error: str = "") -> None:
        if noun.status_callback is None:
            return
        fields = {
            "AccountSid": self._carrier.account_sid,
            "CallSid": self._call.call_sid,
            "StreamSid": sid,
            "StreamName": noun.name or sid,
            "StreamEvent": event,
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        }
        if error:
            fields["StreamError"] = error
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await self.post(self._carrier.absolute(noun.status_callback), fields)

    async def progress(self, event: str) -> None:
        url, wanted = self._status_target()
        if url is None or event not in wanted:
            return
        status = {"answered": "in-progress", "completed": self._call.status}.get(event, event)
        fields = {
            **self.fields(status),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._sequence),
            "Timestamp": formatdate(),
        }
        self._sequence += 1
        if event == "completed":
            fields |= self._final_fields()
        copies = 2 if self._call.faults.duplicate_status else 1
        if self._call.faults.status_out_of_order and event == "completed":
            late = {**self.fields("in-progress"), "SequenceNumber": "0", "CallbackSource": "call-progress-events"}
            await self._post_status(url, fields)
            await self._post_status(url, late)
            return
        for _ in range(copies):
            await self._post_status(url, fields)

    def _final_fields(self) -> dict[str, str]:
        seconds = 0 if self._call.answered_at is None else round(time.time() - self._call.answered_at)
        codes = {"completed": "200", "busy": "486", "no-answer": "487", "canceled": "487"}
        final = {"CallDuration": str(seconds), "SipResponseCode": codes.get(self._call.status, "404")}
        if self._call.status == "completed":
            final["Duration"] = str(-(-seconds // 60))
        return final

    def _status_target(self) -> tuple[str | None, set[str]]:
        if self._call.direction == "inbound":
            return self._carrier.status_url, self._carrier.status_events
        given = self._call.options.get("StatusCallbackEvent") or ["completed"]
        return self._call.options.get("StatusCallback"), set([given] if isinstance(given, str) else given)

    async def _post_status(self, url: str, fields: dict[str, str]) -> None:
        try:
            answer, _, _ = await self.post(url, fields)
        except (aiohttp.ClientError, TimeoutError):
            answer = 0
        self._call.timeline.add(events.StatusPosted, fields["CallStatus"], answer)
