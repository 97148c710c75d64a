"""The demonstration: its plan, and a few of its calls through the real core into real rows, twice, and away again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count

from calls.models import Agent, Call, Recording, Turn
from calls.replay.run import replay
from calls.services.transfer import record_of
from memory.models import Caller, Conversation
from voiceagent.demo import making, speech
from voiceagent.demo.call import PROCESS
from voiceagent.demo.plan import plan

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 27, 15, 30, tzinfo=UTC)
#: +1 555 01xx and what the British regulator keeps for drama.
FICTIONAL = re.compile(r"\+1\d{3}55501\d\d|\+447700900\d{3}|\+441632960\d{3}|\+442079460\d{3}|anonymous")


def test_a_plan_is_the_same_for_the_same_seed_and_nobody_in_it_can_be_called() -> None:
    planned = plan(500, 30, NOW, 1)
    assert planned == plan(500, 30, NOW, 1)
    assert planned != plan(500, 30, NOW, 2)
    assert [one.order.call_sid for one in plan(500, 30, NOW + timedelta(days=3), 1)] == [
        one.order.call_sid for one in planned
    ]
    assert all(FICTIONAL.fullmatch(one.order.from_number) for one in planned)
    assert all(FICTIONAL.fullmatch(one.order.to_number) for one in planned)


def test_calls_lie_in_the_past_in_order_on_all_days_and_mostly_at_hours_at_which_people_call() -> None:
    moments = [one.order.began_at for one in plan(500, 30, NOW, 1)]
    assert moments == sorted(moments)
    assert moments[0] >= NOW - timedelta(days=30)
    assert moments[-1] < NOW - timedelta(minutes=10)
    assert len({moment.date() for moment in moments}) >= 29
    assert sum(9 <= moment.hour <= 20 for moment in moments) > 400


@pytest.mark.timeout(240)
@pytest.mark.django_db(transaction=True)
def test_its_calls_are_whole_records_that_replay_and_go_without_a_trace(
    redis_url: str, tmp_path: Path, settings: Any
) -> None:
    settings.DATA_DIR = str(tmp_path)
    planned = plan(6, 2, NOW, 7)
    assert making.make(planned, NOW, speak=speech.in_chords) == 6
    began_at = {one.order.call_sid: one.order.began_at for one in planned}
    calls = list(Call.objects.filter(process=PROCESS))
    assert {call.call_sid for call in calls} == {one.order.call_sid for one in planned}
    for call in calls:
        assert abs(call.started_at - began_at[call.call_sid]) < timedelta(seconds=5)
        assert call.ended_at is not None
        assert call.ended_at < NOW
        assert call.violations == []
        assert call.broken_count == 0
    answered = [call for call in calls if call.entry_count]
    assert len(answered) > 3
    for call in answered:
        first = call.events.order_by("seq").first()
        assert first is not None
        assert abs(first.at - began_at[call.call_sid]) < timedelta(seconds=1)
        assert replay(record_of(call.call_sid)).is_same
    assert Recording.objects.count() == sum(one.order.is_recorded and not one.unanswered for one in planned)
    assert Turn.objects.filter(outcome="answered").count() > 5
    assert Conversation.objects.filter(distilled_at__isnull=False).count() > 1
    assert Caller.objects.count() > 1
    agents = Agent.objects.annotate(many=Count("versions"))
    assert {agent.many for agent in agents} == {1, 2, 3}

    assert making.make(planned, NOW, speak=speech.in_chords) == 0

    assert making.remove() == 6
    for model in (Call, Turn, Recording, Caller, Conversation, Agent):
        assert model._default_manager.count() == 0, model
    assert not list((tmp_path / "recordings").iterdir())
    assert making.make(planned[:1], NOW, speak=speech.in_chords) == 1, "and it can come again"


@pytest.mark.django_db
def test_it_keeps_away_from_real_calls_unless_it_is_told() -> None:
    Call.objects.create(call_sid="CAreal")
    with pytest.raises(CommandError, match="--beside-real-calls"):
        call_command("demo_data")
