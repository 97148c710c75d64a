"""An agent's own phrases in real calls: what was heard is what the record says, whether the recordings could be had or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone

from calls import phrasebook
from calls.core.phrases import shipped_text
from calls.models import PhraseRecording
from calls.phrasebook import shipped_audio
from calls.services import phrases
from tests.line.conftest import Line, make_agent
from tests.line.hostile import answered, events_of
from tests.line.test_vendors import MODEL, POLICY, ended_row, line, policy
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall

if TYPE_CHECKING:
    from calls.models import Agent, Call

__all__ = ["line"]  # the fixture

OWN = "Oops. What was that?"
#: Another sentence of the same voice: what was played can be told apart.
AUDIO = shipped_audio("en", "handover")


class Voice:
    """In place of the voice vendor."""

    def render(self, text: str, voice: str, language: str) -> bytes:
        return AUDIO


@pytest.fixture
def agent(transactional_db: None) -> Agent:
    """One with a phrase of its own, which this process does not have in memory yet."""
    made = make_agent(greeting="", policy=policy(**POLICY), phrases={"model_failed": OWN})
    phrases.render_due(Voice(), timezone.now())
    phrasebook._lately.clear()
    return made


async def failed_turn(line: Line) -> tuple[PhoneCall, Call, str]:
    """A call whose model fails once: the phone, the row, and what its first turn says was heard."""
    phone = await answered(line)
    line.model.fault(MODEL, "refuse", status=401)
    await phone.dtmf("#", gap_ms=0)
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    row, turns = await ended_row(line, phone)
    return phone, row, turns[0].heard_text


async def test_the_agents_own_recording_is_played_and_its_text_is_on_record(line: Line, agent: Agent) -> None:
    phone, row, heard = await failed_turn(line)
    assert heard == OWN
    assert AUDIO[4000:12000] in phone.heard
    assert row.agent_version is not None
    assert await sync_to_async(lambda: row.agent_version.as_profile().phrases)() == (("model_failed", OWN),)  # type: ignore[union-attr]


async def test_without_the_recording_the_shipped_one_is_played_with_its_own_text(
    line: Line, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_digests: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(phrases, "load", away)
    phone, row, heard = await failed_turn(line)
    assert heard == shipped_text("en", "model_failed")
    assert shipped_audio("en", "model_failed")[4000:12000] in phone.heard
    started = (await events_of(row, "CallStarted"))[0]
    assert started["agent"]["phrases"] == [], "the record replays with what this call had"


async def test_what_a_call_has_needs_no_database_any_more(line: Line, agent: Agent) -> None:
    phone = await answered(line)
    await PhraseRecording.objects.all().adelete()
    phrasebook._lately.clear()
    line.model.fault(MODEL, "refuse", status=401)
    await phone.dtmf("#", gap_ms=0)
    await phone.wait_for(AgentStarted)
    await phone.wait_for_quiet()
    assert AUDIO[4000:12000] in phone.heard
    assert (await ended_row(line, phone))[1][0].heard_text == OWN
