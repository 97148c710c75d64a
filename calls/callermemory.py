"""The port ``calls.ports.Memory``, served by the memory's own door: the one place where ``calls`` meets ``memory``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core.events import Recalled
from calls.core.state import Card
from calls.ports import Forgotten, MemoryRefused, RecallResult, Remembered
from memory.manager import ITEM_CHARS, NotRemembered, context, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory.manager import CallMemory as Held
    from memory.manager import Hit
    from memory.ringing import CallMemories


#: What stands in the call's record of what was recalled: enough to see why, not the memory over again.
_MOST_LEFT_OUT, _LEFT_OUT_CHARS, _QUOTE_CHARS = 6, 80, 160


class CallerMemory:
    """All callers' memory, for the calls of this process."""

    def __init__(self, memories: CallMemories) -> None:
        self._memories = memories

    async def ring(self, call_sid: str, number: str, locale: str) -> None:
        """See ``calls.ports.Memory``."""
        self._memories.ring(call_sid, number, locale)

    def open(self, call_sid: str, number: str, locale: str, *, reads_only: bool = False) -> OneCaller:
        """See ``calls.ports.Memory``."""
        return OneCaller(self._memories.open(call_sid, number, locale, reads_only=reads_only))

    async def aclose(self) -> None:
        """See ``calls.ports.Memory``."""
        await self._memories.aclose()


class OneCaller:
    """One caller's memory for one call, as ``calls.ports.CallMemory`` describes it."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.on_card: Callable[[Card], object] = lambda _: None
        held.on_card = lambda card: self.on_card(Card(card.name, card.text))

    async def card(self) -> Card:
        """See ``calls.ports.CallMemory``, as all below."""
        card = await self._held.card()
        return Card(card.name, card.text)

    def hear(self, text: str) -> None:
        """The caller's words so far."""
        self._held.hear(text)

    async def recall(self, text: str, deadline_ms: int) -> RecallResult:
        """What may help, within the deadline."""
        found = await self._held.recall(text, deadline_ms)
        shown = [hit for hit in found.hits if hit.in_prompt]
        left_out = [hit for hit in found.hits if not hit.in_prompt][:_MOST_LEFT_OUT]
        return RecallResult(tuple(map(_item, (*shown, *left_out))), found.outcome, found.took_ms)

    def note(self, role: str, text: str, turn: int, at_ms: int) -> None:
        """What was said in this call."""
        self._held.note(role, text, 2 * turn + (role != "user"), at_ms)

    async def remember(self, text: str, key: str, turn: int, said: str) -> Remembered:
        """What the caller said, and nothing else. Raises ``MemoryRefused``."""
        try:
            kept = await self._held.remember(text, key, turn, said)
        except NotRemembered as why:
            raise MemoryRefused(str(why)) from None
        return Remembered("kept" if kept else "this_call", text)

    async def forget(self, what: str, key: str, turn: int) -> Forgotten:
        """What the caller means by ``what``."""
        return Forgotten(tuple(await self._held.forget(what)))

    async def aclose(self) -> None:
        """Let go of it."""
        await self._held.aclose()


def _item(hit: Hit) -> Recalled:
    row, origin = hit.row, hit.row.origin
    return Recalled(
        id=row.id,
        level=hit.level.value,
        kind=row.kind.value,
        text=shortened(row.text, ITEM_CHARS if hit.in_prompt else _LEFT_OUT_CHARS),
        score_milli=round(hit.score * 1000),
        said_at=row.said_at.isoformat(timespec="seconds"),
        conversation=origin.conversation,
        seq=origin.seq,
        audio_ms=origin.audio_ms,
        quote=shortened(origin.quote, _QUOTE_CHARS),
        in_prompt=hit.in_prompt,
        why_not=hit.why_not,
        role=row.role,
        after=context(row) if hit.in_prompt else "",
    )
