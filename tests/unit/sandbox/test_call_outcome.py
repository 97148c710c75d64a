"""What `make call` says of a call that never had a stream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from voiceagent.sandbox.call.outcome import why_it_did_not_come_about
from voiceagent.sandbox.carrier.timeline import Timeline

if TYPE_CHECKING:
    from voiceagent.sandbox.carrier import PhoneCall


def test_a_busy_tone_is_explained_by_each_limit_that_gives_one() -> None:
    call = cast("PhoneCall", SimpleNamespace(timeline=Timeline()))
    said = why_it_did_not_come_about(call, "rejected: busy")
    assert said.startswith("rejected: busy: ")
    assert "MAX_CALLS" in said
    assert "CALLS_PER_NUMBER_PER_MINUTE" in said
