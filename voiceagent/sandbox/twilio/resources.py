"""Calls and recordings as the REST API shows them."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

API_VERSION = "2010-04-01"
ENDED = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


def new_sid(prefix: str) -> str:
    """A SID: two letters and 32 hex digits."""
    return prefix + secrets.token_hex(16)


def _formatted(number: str) -> str:
    digits = number.removeprefix("+1")
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}" if len(digits) == 10 and digits.isdigit() else number


def _date(at: float | None) -> str | None:
    return None if at is None else formatdate(at).replace("-0000", "+0000")


@dataclass(slots=True)
class CallResource:
    """One call leg. Times are Unix seconds."""

    sid: str
    account_sid: str
    sender: str
    to: str
    direction: str
    status: str
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    answered_at: float | None = None
    ended_at: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    auth_token: str = ""

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self.status in ENDED

    @property
    def duration_s(self) -> int:
        """Whole seconds since it was answered."""
        if self.answered_at is None:
            return 0
        return round((self.ended_at or time.time()) - self.answered_at)

    def become(self, status: str) -> None:
        """Change the status; an ended call stays as it ended."""
        if self.ended:
            return
        self.status, self.updated_at = status, time.time()
        if status == "in-progress" and self.answered_at is None:
            self.answered_at = self.updated_at
        if status in ENDED:
            self.ended_at = self.updated_at

    def json(self) -> dict[str, Any]:
        """The Call resource."""
        base = f"/{API_VERSION}/Accounts/{self.account_sid}/Calls/{self.sid}"
        return {
            "sid": self.sid,
            "account_sid": self.account_sid,
            "parent_call_sid": None,
            "status": self.status,
            "direction": self.direction,
            "to": self.to,
            "to_formatted": _formatted(self.to),
            "from": self.sender,
            "from_formatted": _formatted(self.sender),
            "phone_number_sid": "PN" + "0" * 32,
            "answered_by": None,
            "annotation": None,
            "api_version": API_VERSION,
            "caller_name": None,
            "forwarded_from": None,
            "group_sid": None,
            "trunk_sid": None,
            "duration": str(self.duration_s) if self.ended else None,
            "start_time": _date(self.answered_at),
            "end_time": _date(self.ended_at),
            "date_created": _date(self.created_at),
            "date_updated": _date(self.updated_at),
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "uri": base + ".json",
            "subresource_uris": {"recordings": base + "/Recordings.json", "streams": base + "/Streams.json"},
        }


@dataclass(slots=True)
class RecordingResource:
    """A recording of a call; ``wav`` is there when it is completed."""

    sid: str
    call: CallResource
    channels: str
    track: str
    options: dict[str, Any]
    status: str = "in-progress"
    started_at: float = field(default_factory=time.time)
    wav: bytes | None = None
    duration_s: int = 0

    def json(self) -> dict[str, Any]:
        """The Recording resource."""
        base = f"/{API_VERSION}/Accounts/{self.call.account_sid}"
        return {
            "sid": self.sid,
            "account_sid": self.call.account_sid,
            "call_sid": self.call.sid,
            "conference_sid": None,
            "status": self.status,
            "channels": 2 if self.channels == "dual" else 1,
            "track": self.track,
            "source": "StartCallRecordingAPI",
            "duration": str(self.duration_s) if self.status == "completed" else "-1",
            "start_time": _date(self.started_at),
            "date_created": _date(self.started_at),
            "date_updated": _date(time.time()),
            "price": None,
            "price_unit": "USD",
            "error_code": None,
            "encryption_details": None,
            "api_version": API_VERSION,
            "uri": f"{base}/Calls/{self.call.sid}/Recordings/{self.sid}.json",
        }

    def callback_fields(self) -> dict[str, str]:
        """Form fields of a recording status callback."""
        account = self.call.account_sid
        return {
            "AccountSid": account,
            "CallSid": self.call.sid,
            "RecordingSid": self.sid,
            "RecordingUrl": f"https://api.twilio.com/{API_VERSION}/Accounts/{account}/Recordings/{self.sid}",
            "RecordingStatus": self.status,
            "RecordingDuration": str(self.duration_s),
            "RecordingChannels": "2" if self.channels == "dual" else "1",
            "RecordingStartTime": _date(self.started_at) or "",
            "RecordingSource": "StartCallRecordingAPI",
            "RecordingTrack": self.track,
        }
