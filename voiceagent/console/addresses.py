"""What stands in the console's addresses. A call's id is what the archive takes for one: anything else names no page."""

from __future__ import annotations

from django.urls import register_converter

from calls.logkeys import SID


class CallSid:
    """A call's id. Whatever else comes, a NUL too, which the database does not take, is not found."""

    regex = SID

    def to_python(self, value: str) -> str:
        """As it is."""
        return value

    def to_url(self, value: str) -> str:
        """As it is."""
        return value


register_converter(CallSid, "callsid")
#: A call's page; what belongs to the call lies below.
CALL = "calls/<callsid:call_sid>/"
#: What operators do to it.
OPERATE = "operate/<callsid:call_sid>/"
