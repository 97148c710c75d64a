"""The carrier itself: what all simulated calls of a process share."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin

import aiohttp
import orjson

from voiceagent.sandbox.carrier.call import PhoneCall
from voiceagent.sandbox.carrier.endings import LinkError, why
from voiceagent.sandbox.carrier.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from voiceagent.sandbox.carrier.events import TimelineEvent
    from voiceagent.sandbox.carrier.faults import CarrierFaults

DEFAULT_CALLER = "+14155550123"
DEFAULT_CALLED = "+15005550006"
_LINK_S = 10.0


class Carrier:
    """An async context manager that places calls to one server.

    With ``rest_url`` (the sandbox's address) calls are registered there, so that hang-ups and redirects over REST
    reach them; without it a stream that the server closes is the only way it can end a call. ``public_url`` is the
    address that the server believes to have, which signatures cover; it is reached at ``server_url``. Entering raises
    :class:`LinkError` where ``rest_url`` does not answer.
    """

    def __init__(
        self,
        server_url: str,
        *,
        account_sid: str,
        auth_token: str,
        rest_url: str | None = None,
        public_url: str | None = None,
        voice_path: str = "/twilio/voice",
        status_path: str | None = "/twilio/status",
        status_events: frozenset[str] = frozenset({"completed"}),
        takes_outbound: bool = False,
    ) -> None:
        self._server_url = server_url.rstrip("/")
        self.account_sid, self.auth_token = account_sid, auth_token
        self._rest_url = rest_url
        self._public_url = (public_url or server_url).rstrip("/")
        self.voice_url = self._public_url + voice_path
        self.status_url = self._public_url + status_path if status_path else None
        self.status_events = set(status_events)
        self._takes_outbound = takes_outbound
        self.pacer = Pacer()
        self.dial_results: dict[str, str] = {}
        self.incoming: asyncio.Queue[PhoneCall] = asyncio.Queue()
        self._calls: dict[str, PhoneCall] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._link: aiohttp.ClientWebSocketResponse | None = None
        self._acknowledged: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)
        )
        if self._rest_url is not None:
            self._link = await self._connect(f"{self._rest_url.rstrip('/')}/_sandbox/carrier")
            self.spawn(self._read_link(self._link))
            if self._takes_outbound:
                await self._tell({"type": "ready"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(call.hang_up() for call in self._calls.values()), return_exceptions=True)
        if self._link is not None:
            await self._link.close()
        await self.pacer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.session.close()

    def call(
        self,
        caller: str = DEFAULT_CALLER,
        called: str = DEFAULT_CALLED,
        *,
        faults: CarrierFaults | None = None,
        listener: Callable[[TimelineEvent], None] | None = None,
        keep_audio: bool = True,
        call_sid: str | None = None,
    ) -> PhoneCall:
        """A call from ``caller`` to ``called``, not yet begun."""
        return PhoneCall(
            self, caller, called, call_sid=call_sid, faults=faults, listener=listener, keep_audio=keep_audio
        )

    def absolute(self, url: str) -> str:
        """An address of a document, relative ones taken from the voice webhook's."""
        return urljoin(self.voice_url, url)

    def reach(self, url: str) -> str:
        """Where an address of the server is really found: the public one may not lead here."""
        for scheme in ("http", "ws"):
            public = self._public_url.replace("http", scheme, 1)
            if url.startswith(public):
                return self._server_url.replace("http", scheme, 1) + url[len(public) :]
        return url

    def spawn(self, job: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside the calls, until it is done or the carrier closes."""
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The link to the sandbox's REST API ------------------------------------------------------------------------------

    async def _connect(self, address: str) -> aiohttp.ClientWebSocketResponse:
        try:
            async with asyncio.timeout(_LINK_S):
                return await self.session.ws_connect(address, max_msg_size=64 << 20)
        except (aiohttp.ClientError, TimeoutError) as error:
            await self.session.close()
            raise LinkError(f"{self._rest_url} cannot be reached: {why(error)}") from None

    async def register(self, call: PhoneCall) -> None:
        """Make a call known to the REST API; returns when it is."""
        self._calls[call.call_sid] = call
        if self._link is None or self._link.closed:
            return
        known = self._acknowledged[call.call_sid] = asyncio.Event()
        facts = {"account_sid": self.account_sid, "from": call.caller, "to": call.called, "direction": call.direction}
        await self._tell({"type": "call", "call_sid": call.call_sid, **facts})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await known.wait()

    async def report(self, call: PhoneCall) -> None:
        """Tell the REST API of a call's new status."""
        await self._tell({"type": "status", "call_sid": call.call_sid, "status": call.status})

    async def hand_over_audio(self, call: PhoneCall) -> None:
        """Both sides of a call, for its recordings."""
        sides = {"caller": base64.b64encode(call.said).decode(), "agent": base64.b64encode(call.heard).decode()}
        await self._tell({"type": "audio", "call_sid": call.call_sid, **sides})

    def forget(self, call: PhoneCall) -> None:
        """A call is over."""
        self._calls.pop(call.call_sid, None)

    async def _tell(self, message: dict[str, Any]) -> None:
        if self._link is not None and not self._link.closed:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._link.send_bytes(orjson.dumps(message))

    async def _read_link(self, link: aiohttp.ClientWebSocketResponse) -> None:
        async for message in link:
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                continue
            await self._on_message(orjson.loads(message.data))

    async def _on_message(self, message: dict[str, Any]) -> None:
        sid = str(message.get("call_sid", ""))
        if message["type"] == "registered":
            if (known := self._acknowledged.pop(sid, None)) is not None:
                known.set()
        elif message["type"] == "dial":
            self._ring(message)
        elif (call := self._calls.get(sid)) is not None:
            await call.on_update(message)

    def _ring(self, message: dict[str, Any]) -> None:
        """Somebody is called: answer and run what the server wants."""
        call = PhoneCall(
            self,
            message["from"],
            message["to"],
            call_sid=message["call_sid"],
            direction="outbound-api",
            options=message["options"],
        )
        call._task = self.spawn(call.run())
        self.incoming.put_nowait(call)
