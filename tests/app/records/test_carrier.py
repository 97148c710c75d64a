"""What the carrier's webhooks write: retries, overtaking and hostile fields."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.utils import timezone

from calls.models import Call
from calls.services.carrier import Recorded, mark_answered, open_answered, open_call, record_carrier_status, refuse_call

if TYPE_CHECKING:
    from calls.models import AgentVersion

SID = "CA" + "0" * 32

pytestmark = pytest.mark.django_db


def ring(**more: object) -> None:
    open_call(call_sid=SID, from_number="+15551234567", to_number="+15005550006", account_sid="AC1", **more)  # type: ignore[arg-type]


def status(word: str, number: int | str | None, **more: str) -> Recorded:
    fields = {"CallSid": SID, "CallStatus": word, "From": "+15551234567", "To": "+15005550006", **more}
    if number is not None:
        fields["SequenceNumber"] = str(number)
    return record_carrier_status(fields)


def test_a_ringing_call(version: AgentVersion) -> None:
    opened = open_call(call_sid=SID, from_number="+15551234567", to_number="+15005550006", agent_version_id=version.pk)

    call = Call.objects.get()
    assert (opened.call_id, opened.is_new) == (call.pk, True)
    assert (call.status, call.agent_version, call.direction) == ("ringing", version, "inbound")
    assert len(call.caller_key) == 64


def test_a_retried_webhook_changes_nothing(version: AgentVersion) -> None:
    ring(agent_version_id=version.pk)
    mark_answered(call_sid=SID)
    before = Call.objects.values().get()

    again = open_call(call_sid=SID, from_number="+15550000000", to_number="+15005550006", agent_version_id=None)

    assert not again.is_new
    assert Call.objects.values().get() == before


def test_the_same_caller_has_the_same_key_and_a_withheld_number_none() -> None:
    numbers = {"CA11": "+15551234567", "CA22": "+1 555-123-4567", "CA33": "anonymous", "CA44": "+266696687", "CA55": ""}
    for sid, number in numbers.items():
        open_call(call_sid=sid, from_number=number, to_number="+15005550006")

    keys = dict(Call.objects.values_list("call_sid", "caller_key"))
    assert keys["CA11"] == keys["CA22"] != ""
    assert keys["CA33"] == keys["CA44"] == keys["CA55"] == ""


@pytest.mark.django_db(transaction=True)
def test_two_webhooks_at_the_same_time_make_one_row() -> None:
    start = threading.Barrier(4)
    new: list[bool] = []

    def work() -> None:
        try:
            start.wait()
            new.append(open_call(call_sid=SID, from_number="+15551234567", to_number="+15005550006").is_new)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(new) == [False, False, False, True]
    assert Call.objects.count() == 1


EVENTS = (("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3))


@pytest.mark.parametrize("order", list(itertools.permutations(EVENTS)))
def test_any_order_ends_the_same(order: tuple[tuple[str, int], ...]) -> None:
    ring()
    mark_answered(call_sid=SID)

    for word, number in order:
        status(word, number, **({"CallDuration": "12", "SipResponseCode": "200"} if word == "completed" else {}))
    for word, number in order:
        assert status(word, number) is Recorded.STALE

    call = Call.objects.get()
    assert (call.carrier_status, call.carrier_duration_s, call.sip_response_code) == ("completed", 12, 200)
    assert call.status == "in_progress", "the archive ends a call that had a stream"


def test_a_stream_that_overtakes_the_writing_of_the_webhook(version: AgentVersion) -> None:
    open_answered(call_sid=SID, from_number="+15551234567", to_number="+15005550006", agent_version_id=version.pk)
    ring(agent_version_id=version.pk)
    status("completed", 1)

    call = Call.objects.get()
    assert (call.status, call.end_reason, call.archived_at) == ("in_progress", "", None), (
        "its log is yet to be archived"
    )
    assert (call.from_number, call.account_sid, call.agent_version) == ("+15551234567", "AC1", version)


def test_a_status_callback_that_overtakes_the_webhook(version: AgentVersion) -> None:
    status("ringing", 1, Direction="inbound")

    opened = open_call(
        call_sid=SID,
        from_number="+15551234567",
        to_number="+15005550006",
        account_sid="AC9",
        agent_version_id=version.pk,
    )

    call = Call.objects.get()
    assert not opened.is_new
    assert (call.agent_version, call.account_sid, call.carrier_status) == (version, "AC9", "ringing")


@pytest.mark.parametrize(
    ("word", "reason"),
    [("no-answer", "carrier_no_answer"), ("canceled", "caller_gave_up"), ("completed", "not_connected")],
)
def test_a_call_that_never_had_a_stream_ends_here(word: str, reason: str) -> None:
    ring()

    status(word, 1)

    call = Call.objects.get()
    assert (call.status, call.end_reason) == ("ended", reason)
    assert call.ended_at
    assert call.archived_at


def test_a_refused_call_is_closed_once() -> None:
    ring()

    refuse_call(call_sid=SID, reason="no_agent")
    refuse_call(call_sid=SID, reason="overload")
    mark_answered(call_sid=SID)
    status("completed", 1)

    assert (Call.objects.get().status, Call.objects.get().end_reason) == ("ended", "no_agent")


@pytest.mark.parametrize("sequence", [None, "", "-1", "one", "9" * 400, "1e3", "٣", "0x10", "3.5", "\x00"])
def test_a_sequence_number_that_is_none(sequence: str | None) -> None:
    ring()

    assert status("ringing", sequence) is Recorded.RECORDED
    assert status("completed", sequence) is Recorded.RECORDED
    assert status("ringing", sequence) is Recorded.STALE
    assert Call.objects.get().carrier_status == "completed"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"CallSid": SID},
        {"CallSid": "", "CallStatus": "ringing"},
        {"CallSid": "../../etc/passwd", "CallStatus": "ringing"},
        {"CallSid": "CA\x00", "CallStatus": "ringing"},
        {"CallSid": "C" * 65, "CallStatus": "ringing"},
        {"CallSid": SID, "CallStatus": "exploded"},
        {"CallSid": SID, "CallStatus": "completed'; DROP TABLE calls_call; --"},
    ],
)
def test_what_is_no_status_is_refused(fields: dict[str, str]) -> None:
    assert record_carrier_status(fields) is Recorded.INVALID
    assert not Call.objects.exists()


def test_hostile_fields_are_bounded() -> None:
    poison = "\x00\ud800" + "x" * 100_000
    assert (
        record_carrier_status(
            {
                "CallSid": SID,
                "CallStatus": " COMPLETED ",
                "From": poison,
                "To": poison,
                "Direction": poison,
                "AccountSid": poison,
                "CallDuration": "9" * 300,
                "SipResponseCode": "-200",
                "Timestamp": poison,
            }
        )
        is Recorded.RECORDED
    )
    call = Call.objects.get()
    assert len(call.from_number) == 255
    assert (call.carrier_duration_s, call.sip_response_code) == (None, None)


@pytest.mark.parametrize(
    "moment", ["", "yesterday", "Mon, 01 Jan 1900 00:00:00 +0000", "Fri, 31 Dec 9999 23:59:59 -2359"]
)
def test_a_time_that_makes_no_sense_becomes_now(moment: str) -> None:
    status("ringing", 1, Timestamp=moment)

    said = Call.objects.get().carrier_status_at
    assert said
    assert abs((timezone.now() - said).total_seconds()) < 60


def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="call id"):
        open_call(call_sid="no such/id", from_number="", to_number="")
