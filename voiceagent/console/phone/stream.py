"""A test call's media stream: the carrier's protocol and consumer, with an operator's browser in the carrier's place.

What replaces the carrier's signature: the page's origin (checked before this is reached), the session, the permission, and
a ticket that was signed for this very user moments ago and works once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.core import signing

from calls import metrics
from calls.consumers import MediaStreamConsumer
from voiceagent.console import access

if TYPE_CHECKING:
    from calls.codecs.twilio import Start
    from calls.tickets import Ticket, Tickets

PERMISSION = "console.test_call"
TICKET_S = 30
_SALT = "console.phone.ticket"
#: How long somebody who lost the permission may still be on the line.
RECHECK_S = 5.0


async def issue(tickets: Tickets, ticket: Ticket, user: Any) -> str:
    """A token for this ticket that only this user's browser can show, within ``TICKET_S``."""
    return signing.dumps([await tickets.issue(ticket), user.pk], salt=_SALT)


class TestStream(MediaStreamConsumer):
    """``WS /console/phone/stream``."""

    __test__ = False
    _watch: asyncio.Task[None] | None = None

    async def admitted(self) -> str:
        """Whether the user of this session may make test calls."""
        return "" if await access.amay(self.scope["user"], PERMISSION) else "not_allowed"

    async def ticket_of(self, start: Start) -> Ticket | None:
        """The ticket, if it was signed for this user and is fresh and unused."""
        try:
            token, user_id = signing.loads(start.parameters.get("token", ""), salt=_SALT, max_age=TICKET_S)
        except (signing.BadSignature, ValueError, TypeError):
            return None
        if user_id != self.scope["user"].pk:
            return None
        self._watch = asyncio.create_task(self._recheck(), name="test-call:permission")
        ticket = await self.runtime.tickets.take(token)
        return ticket if ticket is not None and ticket.is_test else None

    def disconnect(self) -> None:
        """The socket is gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().disconnect()

    async def _recheck(self) -> None:
        """The frames carry no name: whoever sends them must be allowed to for as long as they come."""
        while True:
            await asyncio.sleep(RECHECK_S)
            if not await access.amay(self.scope["user"], PERMISSION):
                await self.close("not_allowed")
                return

    async def _unwanted(self, why: str) -> None:
        """Told and closed: a refused handshake tells a page nothing."""
        metrics.STREAMS_REFUSED.labels(why).inc()
        await self.send({"type": "websocket.accept"})
        await self.close(why)
