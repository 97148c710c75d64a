"""How a reply ends, and what follows it.

Every reply that is begun for a committed turn is closed once, here, with one outcome; nothing else emits
``TurnClosed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import history, replies, speech, tooling
from calls.core.commands import HangUp, Intervened, Message, SpokenWord, Transfer, TurnClosed
from calls.core.state import Phase
from calls.core.state import Work as Stage

#: Ends that pass the call on instead of hanging up.
HANDED_OVER = "handed_over"
TRANSFERS = frozenset({"transferred", HANDED_OVER})

#: Ends of a reply that is not complete, and what the model is told of it where some was heard.
CUT_SHORT = {
    "interrupted": history.INTERRUPTED_NOTE,
    "call_ended": history.INTERRUPTED_NOTE,
    "overridden": history.OVERRIDDEN_NOTE,
}
#: Ends after which an operator's sentence of which nothing was heard is said at the next pause.
PUT_OFF = frozenset({"interrupted", "superseded"})

if TYPE_CHECKING:
    from calls.core.state import OperatorText, Reply
    from calls.core.work import Work


def close(w: Work, reply: Reply, outcome: str, heard: int) -> None:
    """Give the turn its one outcome and its place in the history, cut at what was heard."""
    replies.cancel_tools(w, reply)
    silent = heard == 0 and not reply.user_text and not reply.tools
    if not silent:
        note = CUT_SHORT.get(outcome, "") if 0 < heard < len(reply.text) else ""
        w.set(history=w.state.history + history.of_reply(reply, heard, note=note))
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
    _account(w, reply, outcome, heard)


def _account(w: Work, reply: Reply, outcome: str, heard: int) -> None:
    """What became of operators' words in this reply: notes without effect wait for the next one, and so does a sentence
    that the caller was too early for."""
    unheard = heard == 0 and outcome != "answered"
    if unheard or reply.failed:
        replies.give_notes_back(w, reply)
    saying = reply.saying
    if saying is None:
        return
    if unheard and outcome in PUT_OFF:
        w.set(sayings=(saying, *w.state.sayings))
        return
    became = {"answered": "said", "failed_to_fallback": "failed"}.get(outcome, "cut" if heard else "dropped")
    w.emit(Intervened("say", became, saying.key, saying.by, reply.turn))


def with_operator(w: Work, text: str) -> None:
    """A turn of the caller that a person of ours answers: it is on record, and the model will know of it."""
    turn, caller = w.state.turn + 1, w.state.caller
    w.set(turn=turn, history=(*w.state.history, Message("user", text)))
    w.emit(
        TurnClosed(
            turn=turn,
            kind="operator",
            outcome="with_operator",
            user_text=text,
            generated_text="",
            heard_text="",
            speech_ended_ms=caller.voiced_until_ms,
            committed_ms=w.now,
            first_audio_ms=-1,
            closed_ms=w.now,
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
    """The floor is free: hang up if that was the plan, answer what was kept, else wait for the caller, or say what waits."""
    caller = w.state.caller
    if w.state.ending:
        hang_up(w, w.state.ending)
    elif caller.kept:
        w.set_caller(kept="")
        replies.answer(w, caller.kept)
    else:
        be_idle(w)


def way_out(w: Work, reason: str) -> str:
    """How a call ends that cannot go on: passed on where there is somebody who takes it, else for this reason."""
    return HANDED_OVER if w.agent.transfer_to else reason


def last_words(w: Work, reason: str, phrase: str, cause: str = "") -> None:
    """Say this and end the call. Nothing takes the floor back from here."""
    _begin_end(w, reason, "interrupted")
    replies.notice(w, phrase, cause)


def last_sentence(w: Work, reason: str, text: str) -> None:
    """As ``last_words``, in the agent's own voice."""
    _begin_end(w, reason, "overridden")
    replies.announce(w, "notice", text, interruptible=False)


def _begin_end(w: Work, reason: str, outcome: str) -> None:
    stop_everything(w, outcome)
    w.set(ending=reason)
    w.arm(replies.GOODBYE, w.now + w.policy.goodbye_ms)


def hang_up(w: Work, reason: str) -> None:
    """Ask the carrier to end the call, or to pass it on; wait for its stop, but not for ever."""
    w.emit(Transfer(w.agent.transfer_to) if reason in TRANSFERS else HangUp(reason))
    w.disarm(*(timer.name for timer in w.state.timers))
    w.set(phase=Phase.ENDING, ending=reason)
    w.arm(replies.HANGUP, w.now + w.policy.hangup_grace_ms)


def be_idle(w: Work) -> None:
    """Nobody has the floor: an operator's sentence takes it where one waits, else the idle time begins."""
    if not say_next(w):
        arm_idle(w)


def say_next(w: Work) -> bool:
    """Say the operator's sentence that waits, if this is a pause. After a sound it is one when words could be there."""
    state, caller = w.state, w.state.caller
    if not state.sayings or state.reply is not None or state.cut is not None or state.ending:
        return False
    talks = caller.speaking and w.now - caller.voiced_at_ms < w.policy.noise_ms
    if talks or caller.text.strip() or caller.digits:
        return False
    pause_ms = caller.voiced_until_ms + w.policy.verdict_ms
    if caller.voiced_until_ms >= 0 and not caller.speaking and pause_ms > w.now:
        w.arm(replies.SAY, pause_ms)
        return False
    say(w, state.sayings[0], state.sayings[1:])
    return True


def say(w: Work, saying: OperatorText, others: tuple[OperatorText, ...]) -> None:
    """Have the agent's voice say this; ``others`` wait."""
    w.set(sayings=others)
    w.disarm(replies.SAY)
    replies.announce(w, "say", saying.text, saying=saying)


def say_timer(w: Work) -> None:
    """No words followed the sound: say what waits."""
    say_next(w)


def arm_idle(w: Work) -> None:
    """Start the idle time: from now, the last heard sample or the caller's last sound."""
    w.arm(replies.IDLE, w.now + w.policy.idle_ms)
