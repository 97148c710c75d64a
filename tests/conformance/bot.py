"""A bot under test: calls it, steers its vendors where that is possible, and judges each call by what the wire shows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tests.conformance.call import Call, audio
from tests.conformance.ears import MS_PER_CHAR
from voiceagent.sandbox.carrier import Carrier, CarrierFaults
from voiceagent.sandbox.control import Reply, Rule, SandboxClient, ToolCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.conformance.target import Target
    from voiceagent.sandbox.script import FaultKind
    from voiceagent.sandbox.state import Entry

STT, VOICE, MODEL = "cartesia.stt.turns", "cartesia.tts.context", "openai.chat"
#: Speech is recognised as over after so much silence (ms), and guessed to be after the first.
EARS = {"eager_end_ms": 250, "end_ms": 500}
_VOICE = {"ms_per_char": MS_PER_CHAR, "speed": 5, "late_chunks": 6, "max_contexts": 500}


@dataclass(frozen=True, slots=True)
class Line:
    """Something the caller says and what the model makes of it.

    A bot whose vendors are not steered hears the recording ``audio`` and answers as it likes; the texts are told to
    steered ones. ``tools`` are called before ``after_tool`` is said.
    """

    text: str
    answer: str = ""
    audio: str = "3-menu"
    tools: tuple[ToolCall, ...] = ()
    after_tool: str = ""
    first_token_ms: float | None = None
    inter_token_ms: float | None = None

    def rules(self) -> list[dict[str, Any]]:
        """The model's answers to this line."""
        if not self.text:
            return []
        key = self.text.rstrip(".?!")
        pace = {"first_token_ms": self.first_token_ms, "inter_token_ms": self.inter_token_ms}
        reply = Reply(text=self.answer, tool_calls=list(self.tools), **pace)
        rules = [Rule(contains=key, reply=reply)]
        if self.after_tool:
            rules.insert(0, Rule(contains=key, reply=Reply(text=self.after_tool, **pace), after_tool=True))
        return [rule.model_dump() for rule in rules]


Messages = list[dict[str, Any]]


def said_by(role: str, messages: Messages) -> list[str]:
    """What the messages of a role say."""
    return [str(message.get("content") or "") for message in messages if message["role"] == role]


def since(text: str, messages: Messages) -> Messages:
    """The messages from the one with this text on."""
    return messages[[message.get("content") for message in messages].index(text) :]


class Steering:
    """The vendors' stand-ins of a bot, over their control API."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self.ears = SandboxClient(target.sandbox, target.cartesia_key, session)
        self.model = SandboxClient(target.sandbox, target.openai_key, session)
        #: Calls begin one after the other, so that each takes what was laid out for it.
        self.beginning = asyncio.Lock()
        self._rules: list[dict[str, Any]] = []

    async def begin(self) -> None:
        """Nothing of earlier runs; a quick voice and a prompt model. Six more chunks follow every cancel."""
        await self.ears.reset()
        await self.model.reset()
        await self.ears.configure(tts=_VOICE)
        await self.model.configure(llm={"first_token_ms": 40, "inter_token_ms": 2})

    async def lay_out(self, lines: Sequence[Line], ears: dict[str, Any]) -> None:
        """What the next caller's speech is recognised as, and what the model answers. Later lines win."""
        self._rules[:0] = [rule for line in reversed(lines) for rule in line.rules()]
        await self.model.configure(llm={"rules": self._rules})
        callers = [] if "scripts" in ears else [[line.text for line in lines]]
        await self.ears.configure(stt={**EARS, "callers": callers, "scripts": [], **ears})

    async def ears_open(self, count: int = 0) -> int:
        """How many recognition sockets there have been that took audio, once there are so many: words before that are
        transcribed apart."""
        return len(await self.ears.wait_for(STT, lambda entry: entry["bytes"] > 0, count=count))

    async def fault(self, line: str, kind: FaultKind, **options: Any) -> None:
        """The voice fails at contexts that begin with the words of ``line``."""
        await self.ears.fault(VOICE, kind, contains=line, **options)

    async def context(self, text: str, *, over: bool = False, timeout_s: float = 10.0) -> Entry:
        """The journal's entry of the first voice context whose text has ``text``; ``over``: once it has ended."""

        def fits(entry: Entry) -> bool:
            said = "".join(piece["text"] for piece in entry["texts"])
            return text in said and (not over or "ended_ms" in entry)

        return (await self.ears.wait_for(VOICE, fits, timeout_s=timeout_s))[0]

    async def turn_over(self, text: str, timeout_s: float = 10.0) -> None:
        """The recogniser has told that a turn with these words is over."""
        over = ("turn.end", text)
        await self.ears.wait_for(
            STT, lambda it: any((e["type"], e.get("transcript")) == over for e in it["events"]), timeout_s=timeout_s
        )

    async def asked(self, text: str, *, after_tool: bool = False, timeout_s: float = 10.0) -> list[Messages]:
        """The messages of each request whose last user message has ``text``, as soon as there is one.

        ``after_tool``: of those that end with the result of a function.
        """

        def fits(entry: Entry) -> bool:
            messages = entry["body"]["messages"]
            return text in "".join(said_by("user", messages)[-1:]) and (
                not after_tool or messages[-1]["role"] == "tool"
            )

        entries = await self.model.wait_for(MODEL, fits, timeout_s=timeout_s)
        return [entry["body"]["messages"] for entry in entries]

    async def told_at(self, text: str, timeout_s: float = 10.0) -> float:
        """When the recogniser first told of these words, on the machine's monotonic clock (ms)."""

        def tells(entry: Entry) -> bool:
            return any(event.get("transcript") == text for event in entry["events"])

        entry = (await self.ears.wait_for(STT, tells, timeout_s=timeout_s))[0]
        at_ms = next(event["at_ms"] for event in entry["events"] if event.get("transcript") == text)
        return float(entry["journal_from_ms"] + at_ms)


class Bot:
    """An async context manager around the carrier that calls the target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._vendors: Steering | None = None
        self._stack = AsyncExitStack()
        self.carrier: Carrier

    async def __aenter__(self) -> Self:
        target = self.target
        self.carrier = await self._stack.enter_async_context(
            Carrier(
                target.server,
                account_sid=target.account_sid,
                auth_token=target.auth_token,
                rest_url=target.sandbox or None,
                public_url=target.public_url or None,
                voice_path=target.voice_path,
                status_path=target.status_path or None,
            )
        )
        if target.steered:
            session = await self._stack.enter_async_context(aiohttp.ClientSession())
            self._vendors = Steering(target, session)
            await self._vendors.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def steered(self) -> bool:
        """Whether :attr:`vendors` is there."""
        return self._vendors is not None

    @property
    def vendors(self) -> Steering:
        """The stand-ins."""
        assert self._vendors is not None, "this scenario is marked as steered and is not run without the stand-ins"
        return self._vendors

    @asynccontextmanager
    async def call(
        self,
        *lines: Line,
        to: str = "",
        greeting: str | None = None,
        ears: dict[str, Any] | None = None,
        faults: CarrierFaults | None = None,
    ) -> AsyncIterator[Call]:
        """A call that is up and whose greeting is over. Hung up at the end; a protocol fault fails the scenario.

        ``greeting``: the call to ``to`` is greeted with this, and that is not waited for.
        """
        phone = self.carrier.call(called=to or self.target.to, faults=faults)
        texts = [text for line in lines for text in (line.answer, line.after_tool) if text]
        call = Call(phone, self.target, [*texts, greeting or ""])
        try:
            if self._vendors is None:
                await phone.start()
            else:
                async with self._vendors.beginning:
                    await self._vendors.lay_out(lines, ears or {})
                    before = await self._vendors.ears_open()
                    await phone.start()
                    await self._vendors.ears_open(before + 1)
            if greeting is None:
                await call.greeted()
            yield call
        finally:
            if phone.is_up and phone._task is not None:
                await phone.hang_up()
        call.kept_the_protocol()


@cache
def speech(ms: int) -> bytes:
    """The first ``ms`` of a recording without a pause: a short sound of somebody's voice."""
    return audio("3-menu")[60 * 8 : (60 + ms) * 8]
