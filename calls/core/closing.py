"""How a reply ends, and what follows it.

Every reply that is begun for a committed turn is closed once, here, with one outcome; nothing else emits
``TurnClosed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import history, replies, speech, tooling
from calls.core.commands import HangUp, SpokenWord, Transfer, TurnClosed
from calls.core.state import Phase
from calls.core.state import Work as Stage

#: Ends that pass the call on instead of hanging up.
HANDED_OVER = "handed_over"
TRANSFERS = frozenset({"transferred", HANDED_OVER})

if TYPE_CHECKING:
    from calls.core.state import Reply
    from calls.core.work import Work


def close(w: Work, reply: Reply, outcome: str, heard: int) -> None:
    """Give the turn its one outcome and its place in the history, cut at what was heard."""
    interrupted = outcome in ("interrupted", "call_ended") and heard < len(reply.text)
    replies.cancel_tools(w, reply)
    silent = heard == 0 and not reply.user_text and not reply.tools
    if not silent:
        note = interrupted and heard > 0
        w.set(history=w.state.history + history.of_reply(reply, heard, interrupted=note))
    waste = reply.wasted(heard)
    w.emit(
        TurnClosed(
            turn=reply.turn,
            kind=reply.kind,
            outcome=outcome,
            user_text=reply.user_text,
            generated_text=reply.text,
            heard_text=reply.text[:heard].rstrip(),
            speech_ended_ms=reply.speech_ended_ms,
            committed_ms=reply.committed_ms,
            first_audio_ms=reply.first_audio_ms,
            closed_ms=w.now,
            wasted_chars=waste.chars,
            wasted_tokens=waste.tokens,
            words=_all_words(w, reply),
            causes=reply.causes,
            answer_audio_ms=reply.answer_audio_ms,
        )
    )


def _all_words(w: Work, reply: Reply) -> tuple[SpokenWord, ...]:
    """What became of every word of the reply. Those of a stopped one were judged when it was stopped."""
    known = reply.words if reply.cut_at >= 0 else replies.spoken_words(w, reply)
    unvoiced = reply.text[speech.timed_until(reply.playback, reply.text, reply.said) :]
    return known + tuple(SpokenWord(word, "generated") for word in unvoiced.split())


def close_cut(w: Work) -> None:
    """The words that followed the stop were meant: the stopped reply ends as interrupted."""
    stopped = w.state.cut
    if stopped is not None:
        w.set(cut=None, ending="")
        w.disarm(replies.VERDICT, replies.GOODBYE)
        close(w, stopped, "interrupted", stopped.cut_at)


def stop_everything(w: Work, outcome: str) -> None:
    """Close whatever reply there is: what is stopped as interrupted, what is in the works with ``outcome``."""
    close_cut(w)
    reply = w.state.reply
    if reply is None:
        return
    if not reply.confirmed:
        replies.discard_draft(w)
        return
    replies.cut(w)
    stopped = w.state.cut
    assert stopped is not None  # noqa: S101 - cut has just put it there
    w.set(cut=None)
    close(w, stopped, outcome, stopped.cut_at)


def settle(w: Work) -> None:
    """See whether the reply is complete: generated, its tools settled, spoken, heard. Then close it and go on.

    One that ends the call without a word waits while the caller is still speaking: the turn may have been committed
    too early.
    """
    reply = w.state.reply
    if reply is None or not reply.confirmed or reply.held:
        return
    if reply.model is Stage.RUNNING or reply.playback.outstanding or reply.voice is Stage.RUNNING:
        return
    if any(not tool.outcome for tool in reply.tools if tool.name != replies.TONES) or tooling.play_tones(w):
        return
    if w.state.ending and w.state.caller.speaking and reply.interruptible and reply.first_audio_ms < 0:
        replies.hold(w)
        w.arm(replies.VERDICT, w.now + w.policy.verdict_ms)
        return
    w.disarm(replies.WATCH)
    w.set(reply=None)
    if reply.kind == "answer" and not reply.failed:
        w.set(failures=0)
    close(w, reply, "failed_to_fallback" if reply.failed else "answered", reply.said)
    after_reply(w)


def after_reply(w: Work) -> None:
    """The floor is free: hang up if that was the plan, answer what was kept, else wait for the caller."""
    caller = w.state.caller
    if w.state.ending:
        hang_up(w, w.state.ending)
    elif caller.kept:
        w.set_caller(kept="")
        replies.answer(w, caller.kept)
    else:
        arm_idle(w)


def way_out(w: Work, reason: str) -> str:
    """How a call ends that cannot go on: passed on where there is somebody who takes it, else for this reason."""
    return HANDED_OVER if w.agent.transfer_to else reason


def last_words(w: Work, reason: str, phrase: str, cause: str = "") -> None:
    """Say this and end the call. Nothing takes the floor back from here."""
    stop_everything(w, "interrupted")
    w.set(ending=reason)
    w.arm(replies.GOODBYE, w.now + w.policy.goodbye_ms)
    replies.notice(w, phrase, cause)


def hang_up(w: Work, reason: str) -> None:
    """Ask the carrier to end the call, or to pass it on; wait for its stop, but not for ever."""
    w.emit(Transfer(w.agent.transfer_to) if reason in TRANSFERS else HangUp(reason))
    w.disarm(*(timer.name for timer in w.state.timers))
    w.set(phase=Phase.ENDING, ending=reason)
    w.arm(replies.HANGUP, w.now + w.policy.hangup_grace_ms)


def arm_idle(w: Work) -> None:
    """Start the idle time: from now, the last heard sample or the caller's last sound."""
    w.arm(replies.IDLE, w.now + w.policy.idle_ms)
