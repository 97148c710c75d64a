"""What is kept of the caller's audio, and when a silent recogniser is doubted. Positions are bytes, 160 a frame."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calls.providers.cartesia.ledger import AudioLedger, Doubt, Patience, Progress

FRAME = 160


def frames(ledger: AudioLedger, *numbers: int) -> None:
    for number in numbers:
        ledger.feed(bytes([number]) * FRAME)


def kept(ledger: AudioLedger) -> list[int]:
    return list(ledger.owed(ledger.fed)[0][::FRAME])


def test_of_a_silent_caller_only_the_last_second_is_kept() -> None:
    ledger = AudioLedger(lead_ms=100)
    frames(ledger, *range(1, 20))
    assert kept(ledger) == [15, 16, 17, 18, 19]
    assert (ledger.owes, ledger.dropped_bytes) == (False, 0)


def test_what_a_voice_said_stays_with_what_was_just_before_it_until_a_text_covers_it() -> None:
    ledger = AudioLedger(lead_ms=100)
    frames(ledger, *range(1, 10))
    ledger.voice_began(40)
    frames(ledger, *range(10, 30))
    ledger.voice_ended(260)
    assert kept(ledger) == list(range(5, 30))
    assert ledger.owes
    ledger.settle(ledger.turn_end())
    assert kept(ledger) == list(range(17, 30))  # the voice was over at 16; what followed may be of the next turn
    assert not ledger.owes


def test_no_more_than_the_bound_is_kept_and_what_had_to_go_is_counted() -> None:
    ledger = AudioLedger(most_ms=200, lead_ms=40)
    frames(ledger, 1, 2)
    ledger.turn_heard()
    frames(ledger, *range(3, 16))
    assert ledger.owed(ledger.fed) == (b"".join(bytes([number]) * FRAME for number in range(6, 16)), False)
    assert ledger.dropped_bytes == 5 * FRAME
    ledger.settle(ledger.fed)
    frames(ledger, 16)
    assert ledger.owed(ledger.fed) == (bytes([16]) * FRAME, True)


def test_two_halves_of_the_audio_are_divided_where_it_is_quietest() -> None:
    loud, soft, silent = (bytes([code]) * FRAME for code in (0x00, 0x60, 0xFF))
    ledger = AudioLedger()
    for frame in [silent, silent, loud, loud, soft, silent, silent, soft, loud, loud]:
        ledger.feed(frame)
    assert ledger.quietest(0) == 6 * FRAME  # as silent as the beginning, and later
    assert ledger.quietest(7 * FRAME) == 8 * FRAME
    assert ledger.quietest(9 * FRAME) == ledger.fed
    assert AudioLedger().quietest(0) == 0


def test_a_voice_too_fresh_to_be_in_a_text_is_not_covered_by_it() -> None:
    ledger = AudioLedger()
    frames(ledger, *range(1, 40))
    ledger.voice_began(600)
    ledger.voice_ended(300)
    ledger.voice_began(60)
    ledger.settle(ledger.turn_end())
    assert ledger.owes
    assert kept(ledger) == [37, 38, 39]


def test_a_voice_that_goes_on_when_its_turn_ends_is_covered() -> None:
    ledger = AudioLedger()
    frames(ledger, *range(1, 40))
    ledger.voice_began(600)
    ledger.settle(ledger.turn_end())
    assert not ledger.owes
    assert kept(ledger) == []


def test_what_was_said_after_what_a_text_covers_is_owed_still() -> None:
    ledger = AudioLedger()
    frames(ledger, *range(1, 40))
    ledger.voice_began(600)
    ledger.voice_ended(100)
    ledger.settle(30 * FRAME)
    assert ledger.owes
    assert kept(ledger) == list(range(31, 40))


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["feed", "begin", "end", "turn", "settle"])), max_size=60),
    st.integers(0, 3000),
)
def test_what_is_kept_is_always_the_last_that_was_fed(acts: list[tuple[int, str]], ago_ms: int) -> None:
    ledger, fed = AudioLedger(most_ms=400, lead_ms=50), bytearray()
    for size, act in acts:
        audio = bytes(at % 251 for at in range(len(fed), len(fed) + size))
        fed += audio
        ledger.feed(audio)
        match act:
            case "begin":
                ledger.voice_began(ago_ms)
            case "end":
                ledger.voice_ended(ago_ms)
            case "turn":
                ledger.turn_heard()
            case "settle":
                until = ledger.turn_end()
                assert 0 <= until <= ledger.fed
                ledger.settle(until)
        audio, _ = ledger.owed(ledger.fed)
        assert bytes(fed).endswith(audio)
        assert len(audio) <= 400 * 8 + 400
        assert ledger.fed == len(fed)


# --- doubt --------------------------------------------------------------------------------------------------------


PATIENCE = Patience(after=(1.0, 3.0, 6.0), voice_s=8.0, rest_s=4.0, longest_rest_s=10.0)


def after_voice(*heard: Progress) -> Doubt:
    """A caller who spoke from 0 to 1 s; the recogniser said these at 0.5 s."""
    doubt = Doubt(PATIENCE)
    doubt.voice_began(0.0)
    for progress in heard:
        doubt.heard(0.5, progress)
    doubt.voice_ended(1.0)
    return doubt


def due_at(doubt: Doubt, limit_s: float = 30.0) -> float | None:
    """The first tenth of a second at which it is due."""
    return next((tenth / 10 for tenth in range(int(limit_s * 10)) if doubt.is_due(tenth / 10)), None)


def test_the_less_a_recogniser_has_said_the_sooner_it_is_doubted() -> None:
    assert due_at(after_voice()) == 2.0
    assert due_at(after_voice(Progress.OPENED)) == 4.0
    assert due_at(after_voice(Progress.OPENED, Progress.WORDS)) == 7.0


def test_nobody_is_doubted_who_has_heard_nobody() -> None:
    doubt = Doubt(PATIENCE)
    assert due_at(doubt) is None
    doubt.heard(1.0, Progress.WORDS)
    assert due_at(doubt) is None
    done = after_voice()
    done.settled(1.2, owes=False)
    assert due_at(done) is None


def test_a_voice_without_end_is_not_waited_for_without_end() -> None:
    doubt = Doubt(PATIENCE)
    doubt.voice_began(0.0)
    assert due_at(doubt) == 8.0
    doubt.heard(5.0, Progress.WORDS)
    assert due_at(doubt) == 13.0


def test_a_sign_of_life_begins_the_time_anew_and_so_does_the_next_voice() -> None:
    doubt = after_voice()
    doubt.heard(1.9, Progress.OPENED)
    assert due_at(doubt) == 4.9
    doubt.voice_began(4.0)
    doubt.voice_ended(5.0)
    assert due_at(doubt) == 8.0


def test_doubts_in_vain_become_more_seldom_until_the_recogniser_speaks() -> None:
    doubt, waits = Doubt(PATIENCE), []
    for begins in (0.0, 30.0, 60.0, 90.0):
        doubt.rest(begins)
        doubt.voice_began(begins)
        doubt.voice_ended(begins)
        waits.append(round((due_at(doubt, 200) or 0) - begins))
    assert waits == [4, 8, 10, 10]
    doubt.heard(100.0, Progress.OPENED)
    doubt.rest(100.0)
    doubt.voice_ended(100.0)
    assert due_at(doubt, 200) == 104.0
