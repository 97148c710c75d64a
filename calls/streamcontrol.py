"""Control of a call that no carrier knows: its stream is all there is of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calls.ports import CarrierOut


class StreamControl:
    """``calls.ports.CallControl`` of a test call: to hang up is to close its stream, and nobody can be put through."""

    def __init__(self, carrier: CarrierOut) -> None:
        self._carrier = carrier

    async def hang_up(self, call_sid: str) -> None:
        """Close the stream after what is queued."""
        self._carrier.close()

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """The stream ends, as it does where a carrier runs other TwiML."""
        self._carrier.close()

    async def aclose(self) -> None:
        """Nothing is held."""
