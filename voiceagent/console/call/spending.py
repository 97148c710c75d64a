"""What a call used of what is paid for, and what that costs where its prices are known. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voiceagent.conf import PRICED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.models import Call
    from voiceagent.console.call.story import Story

_FRAME_MS = 20


class Cost(NamedTuple):
    """An amount in the currency of the prices. ``parts``: what of it is for what; ``missing``: what was used and has no price."""

    amount: float
    parts: dict[str, float]
    missing: tuple[str, ...]


def used(call: Call, story: Story) -> dict[str, int]:
    """How much of each thing in ``voiceagent.conf.PRICED``: tokens, characters, and ms of sound and on the line."""
    tokens = story.tokens
    return {
        "model_input": max(0, tokens["input"] - tokens["cached"]),
        "model_cached": tokens["cached"],
        "model_output": tokens["output"],
        "voice": story.voiced_chars,
        "recognition": recognised_ms(call, story),
        "line": call.duration_ms or story.at_ms,
    }


def recognised_ms(call: Call, story: Story) -> int:
    """Sound that was sent to the recogniser: the caller's frames that arrived; where nobody counted them, the call's length."""
    frames = call.audio.get("frames") if isinstance(call.audio, dict) else None
    return frames * _FRAME_MS if isinstance(frames, int) else call.duration_ms or story.at_ms


def cost(amounts: Mapping[str, int], prices: Mapping[str, float]) -> Cost | None:
    """What these amounts come to; ``None`` without any price."""
    if not prices:
        return None
    parts = {name: amounts[name] / PRICED[name][1] * price for name, price in prices.items()}
    return Cost(
        sum(parts.values()), parts, tuple(name for name, amount in amounts.items() if amount and name not in prices)
    )
