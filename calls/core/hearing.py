"""What the caller's sounds and words do. One handler per row of the table; modes say which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import answering, closing, replies, wording
from calls.core.commands import Clear, FinalizeEar
from calls.core.events import (
    DtmfPressed,
    EagerEnd,
    EarFailed,
    EarReady,
    Event,
    SpeechEnded,
    SpeechStarted,
    TurnEnded,
    WordsHeard,
)
from calls.core.replies import TURN_END, VERDICT
from calls.core.state import Mode, Reply
from calls.core.state import Work as Stage

if TYPE_CHECKING:
    from calls.core.work import Work

SILENCE = "silence"
DTMF = "dtmf"
EAR_AWAY = "ear_away"
#: How soon to look again for a moment in which the caller can be told that nobody listens.
EAR_AGAIN_MS = 300
MOST_DIGITS = 64


# --- sounds -------------------------------------------------------------------------------------------------------


def speech_in_silence(w: Work, event: SpeechStarted) -> None:
    """The caller begins; nothing of ours is audible or about to be. A sound that never becomes words is silence."""
    caller = w.state.caller
    nothing = w.state.reply is None and w.state.cut is None and not caller.text
    if nothing and caller.speaking and caller.voiced_at_ms == event.voiced_at_ms:
        w.stale(event)
        return
    _speaking(w, event)
    if nothing:
        w.arm(replies.IDLE, w.now + w.policy.noise_ms)


def speech_over_thinking(w: Work, event: SpeechStarted) -> None:
    """The caller goes on before the reply is audible: hold it. A reply of which some was heard is stopped."""
    _speaking(w, event)
    _silence_pending(w, verdict=True)


def speech_over_speech(w: Work, event: SpeechStarted) -> None:
    """Barge-in, unless what is being said may not be interrupted."""
    _speaking(w, event)
    barge_in(w, verdict=True)


def turn_opened_in_silence(w: Work, event: Event) -> None:
    """The recogniser hears a turn; the local detector may have missed its start."""
    w.set_caller(ended="")


def turn_opened_over_thinking(w: Work, event: Event) -> None:
    """As the start of speech, from the recogniser."""
    w.set_caller(ended="")
    _silence_pending(w, verdict=True)


def turn_opened_over_speech(w: Work, event: Event) -> None:
    """As the start of speech, from the recogniser."""
    w.set_caller(ended="")
    barge_in(w, verdict=True)


def speech_ended(w: Work, event: SpeechEnded) -> None:
    """The caller is silent: from here on count the verdict, the recogniser's end of turn, or our own silence."""
    w.set_caller(speaking=False, voiced_until_ms=event.voiced_until_ms)
    if w.state.reply is not None and w.state.reply.tools and w.reply.model is not Stage.RUNNING:
        answering.go_on(w)
    _await_end(w, event)
    if w.state.cut is not None and _acknowledges(w, w.state.caller.text):
        _resume(w)
    elif w.state.cut is not None and _is_short(w, event) and not w.state.caller.text:
        w.arm_earlier(VERDICT, w.now + w.policy.short_verdict_ms)
    elif w.state.reply is None and w.state.cut is None and not w.state.caller.text:
        closing.be_idle(w)


def _await_end(w: Work, event: SpeechEnded) -> None:
    """From here on count the recogniser's end of the turn, and our own silence."""
    if w.policy.endpointing == "silence":
        w.arm(SILENCE, max(w.now, event.voiced_until_ms + w.policy.silence_end_ms))
    if w.state.caller.text:
        w.arm(TURN_END, w.now + w.policy.turn_end_ms)


def _is_short(w: Work, event: SpeechEnded) -> bool:
    """Too short a sound to wait long for its words."""
    return event.voiced_until_ms - w.state.caller.voiced_at_ms <= w.policy.short_sound_ms


def silence_timer(w: Work) -> None:
    """Manual endpointing: silence lasted long enough, ask for the final text."""
    w.emit(FinalizeEar())


def barge_in(w: Work, *, verdict: bool) -> None:
    """Stop the reply now. With ``verdict``, it resumes unless words follow in time."""
    if w.reply.interruptible:
        replies.cut(w)
        if verdict:
            w.arm(VERDICT, w.now + w.policy.verdict_ms)


def verdict_timer(w: Work) -> None:
    """No words came. While there is sound wait for its end, but not for ever: it may be a television."""
    caller = w.state.caller
    if caller.speaking and w.now - caller.voiced_at_ms < w.policy.noise_ms:
        w.arm(VERDICT, w.now + w.policy.verdict_ms)
    elif w.state.cut is not None:
        _resume(w)
    else:
        _release(w)


def _release(w: Work) -> None:
    """Let a reply be heard that had to wait, if there is one."""
    if w.state.reply is not None and w.reply.held:
        replies.release(w)
        _proceed(w)


def _resume(w: Work) -> None:
    replies.resume(w)
    _proceed(w)


def _proceed(w: Work) -> None:
    """What had to wait for the turn to be sure: tools, and the end of the reply."""
    if w.reply.model is not Stage.RUNNING:
        answering.go_on(w)


def _speaking(w: Work, event: SpeechStarted) -> None:
    w.set_caller(speaking=True, voiced_at_ms=event.voiced_at_ms, ended="")
    w.disarm(replies.IDLE, SILENCE)


def _silence_pending(w: Work, *, verdict: bool) -> None:
    reply = w.reply
    if not reply.interruptible:
        return
    if reply.first_audio_ms >= 0:
        barge_in(w, verdict=verdict)
    else:
        replies.hold(w)
        if verdict:
            w.arm(VERDICT, w.now + w.policy.verdict_ms)


# --- while an operator has the floor: nothing is stopped and nothing begun, but every word is noted --------------------------------


def speech_for_operator(w: Work, event: SpeechStarted) -> None:
    """The caller speaks to an operator."""
    _speaking(w, event)


def speech_ended_for_operator(w: Work, event: SpeechEnded) -> None:
    """The caller is silent: what they said must come to its end."""
    w.set_caller(speaking=False, voiced_until_ms=event.voiced_until_ms)
    _await_end(w, event)


def eager_end_for_operator(w: Work, event: EagerEnd) -> None:
    """A guess, of which only the words count."""
    _note(w, event.text)


def ear_failed_for_operator(w: Work, event: EarFailed) -> None:
    """The recogniser is away: the two go on talking, and what that means for the call is seen when it is the assistant's again."""
    w.set(ear_away=event.kind, ear_is_gone=event.final)


# --- words --------------------------------------------------------------------------------------------------------


def words_in_silence(w: Work, event: WordsHeard) -> None:
    """Words of the open turn. Over a stopped reply they are the verdict, unless they only acknowledge."""
    _note(w, event.text)
    if w.state.cut is None:
        return
    if _takes_floor(w, event.text):
        w.disarm(VERDICT)
    elif event.text.strip() and not w.state.caller.speaking and _acknowledges(w, event.text):
        _resume(w)


def words_over_thinking(w: Work, event: WordsHeard) -> None:
    """More words before the reply is audible: it must wait for the end of them."""
    _note(w, event.text)
    if _takes_floor(w, event.text):
        _silence_pending(w, verdict=False)
        w.disarm(VERDICT)


def words_over_speech(w: Work, event: WordsHeard) -> None:
    """Words that the detector did not announce, or after a reply resumed too early."""
    _note(w, event.text)
    if _takes_floor(w, event.text):
        barge_in(w, verdict=False)


def eager_end(w: Work, event: EagerEnd) -> None:
    """The turn is probably over: begin the reply, held. Its words are a verdict as any others."""
    if _is_guessed(w, event):
        w.stale(event)
        return
    stopped, text = w.state.cut, event.text.strip()
    words_in_silence(w, WordsHeard(at_ms=event.at_ms, text=event.text))
    resumed = stopped is not None and w.state.cut is None
    if not w.policy.speculative or not text or resumed or _acknowledges(w, text):
        return
    if w.state.reply is not None:
        replies.discard_draft(w)
    replies.answer(w, wording.joined(w.state.caller.kept, text), confirmed=False)


def _is_guessed(w: Work, event: EagerEnd) -> bool:
    """Whether a guess at just these words is in the works."""
    draft, caller = w.state.reply, w.state.caller
    if draft is None or event.text != caller.text:
        return False
    return wording.plain(draft.user_text) == wording.plain(wording.joined(caller.kept, event.text))


def eager_end_over_reply(w: Work, event: EagerEnd) -> None:
    """A guess while a committed reply is pending or audible: only its words count."""
    words = WordsHeard(at_ms=event.at_ms, text=event.text)
    (words_over_speech if w.reply.playback.outstanding else words_over_thinking)(w, words)


def turn_resumed(w: Work, event: Event) -> None:
    """The guess was wrong."""
    if w.state.reply is not None and not w.reply.confirmed:
        replies.discard_draft(w)
    else:
        w.stale(event)


def turn_ended_in_silence(w: Work, event: TurnEnded) -> None:
    """The turn is over: answer it, confirm the guess, or find that nothing was said."""
    text = _take_turn(w, event.text)
    draft = w.state.reply
    if (
        text
        and draft is not None
        and wording.plain(draft.user_text) == wording.plain(wording.joined(w.state.caller.kept, text))
    ):
        w.set_caller(kept="")
        closing.close_cut(w)
        w.set_caller(idle_count=0)
        replies.confirm(w)
        _proceed(w)
        return
    if draft is not None:
        replies.discard_draft(w)
    if not text:
        _nothing_said(w)
    elif w.state.cut is not None and _acknowledges(w, text):
        _resume(w)
    else:
        closing.close_cut(w)
        commit(w, text)


def turn_ended_over_thinking(w: Work, event: TurnEnded) -> None:
    """A second end of turn before the reply is audible: one turn, amended; one reply, begun again. Of a reply that
    was partly heard it is an interruption, or a mere acknowledgement."""
    if _has_ended(w, event):
        w.stale(event)
        return
    text = _take_turn(w, event.text)
    reply = w.reply
    if text and not reply.interruptible:
        _keep(w, text)
        text = ""
    if not text or (reply.first_audio_ms >= 0 and not _takes_floor(w, text)):
        _release(w)
    elif reply.first_audio_ms >= 0:
        replies.cut(w)
        closing.close_cut(w)
        commit(w, text)
    else:
        _supersede(w, reply, text)


def turn_ended_over_speech(w: Work, event: TurnEnded) -> None:
    """An end of turn over audible speech: a back-channel changes nothing, anything else is answered."""
    if _has_ended(w, event):
        w.stale(event)
        return
    text = _take_turn(w, event.text)
    if not text:
        return
    if not w.reply.interruptible:
        _keep(w, text)
    elif _takes_floor(w, text):
        replies.cut(w)
        closing.close_cut(w)
        commit(w, text)


def turn_ended_for_operator(w: Work, event: TurnEnded) -> None:
    """The turn is over, and a person of ours answers it: it is recorded."""
    if event.text.strip() and event.text.strip() == w.state.caller.ended:
        w.stale(event)
    elif text := _take_turn(w, event.text):
        closing.with_operator(w, text)


#: The end of a turn, by mode: the rows of the table, and what a time-out or the keypad stands in for.
TURN_ENDED = {
    Mode.LISTENING: turn_ended_in_silence,
    Mode.THINKING: turn_ended_over_thinking,
    Mode.SPEAKING: turn_ended_over_speech,
    Mode.OPERATOR: turn_ended_for_operator,
}


def turn_end_timer(w: Work) -> None:
    """The recogniser never ended the turn: answer what was heard. Its late end will amend."""
    text = w.state.caller.text.strip()
    if w.state.caller.speaking:
        w.arm(TURN_END, w.now + w.policy.turn_end_ms)
        return
    TURN_ENDED[w.state.mode](w, TurnEnded(at_ms=w.now, text=text))
    w.set_caller(timed_out=text, ended="")


def commit(w: Work, text: str) -> None:
    """A caller's turn is complete; begin its reply."""
    text = wording.joined(w.state.caller.kept, text)
    w.set_caller(kept="", idle_count=0)
    w.set(ending="")
    w.disarm(replies.GOODBYE)
    replies.answer(w, text)


def _supersede(w: Work, reply: Reply, text: str) -> None:
    """Amend the turn of a reply nobody heard. What its finished tools did stays in the history.

    The clear is for audio that is on its way to the carrier and not yet reported.
    """
    replies.stop_work(w)
    w.emit(Clear(reply.epoch))
    w.disarm(replies.WATCH)
    w.set(reply=None)
    if reply.kind == "answer" and not reply.tools:
        w.set(turn=reply.turn - 1, waste=reply.wasted(0))
        replies.give_notes_back(w, reply)
        commit(w, wording.joined(reply.user_text, text))
    else:
        closing.close(w, reply, "superseded", 0)
        commit(w, text)


def _nothing_said(w: Work) -> None:
    if w.state.cut is not None:
        _resume(w)
    else:
        closing.be_idle(w)


def _keep(w: Work, text: str) -> None:
    w.set_caller(kept=wording.joined(w.state.caller.kept, text))


def _note(w: Work, text: str) -> None:
    w.set_caller(text=text, ended="")
    if text.strip():
        w.disarm(replies.IDLE)
        w.arm(TURN_END, w.now + w.policy.turn_end_ms)


def _take_turn(w: Work, text: str) -> str:
    """The text of a turn that ended, without what a time-out has committed already; the turn is over for us."""
    said = wording.without(text.strip(), w.state.caller.timed_out)
    w.set_caller(text="", timed_out="", ended=text.strip())
    w.disarm(TURN_END, VERDICT, SILENCE)
    return said


def _has_ended(w: Work, event: TurnEnded) -> bool:
    """Whether it was this end of a turn that the reply answers, and the caller was not heard since: it was told twice."""
    text = event.text.strip()
    taken = wording.joined(w.reply.user_text, w.state.caller.kept)
    return bool(text) and text == w.state.caller.ended and taken.endswith(text)


def _takes_floor(w: Work, text: str) -> bool:
    """Whether these words want the floor: more than an acknowledgement, or the answer to what was just asked."""
    if wording.takes_floor(text, w.agent.language, w.policy.min_words):
        return True
    if not text.strip():
        return False
    stopped = w.state.cut
    if stopped is not None:
        return _tail(w, stopped, stopped.cut_at)
    return w.state.reply is not None and _tail(w, w.reply, replies.heard_until(w, w.reply))


def _acknowledges(w: Work, text: str) -> bool:
    """Whether these words leave the floor to the stopped reply."""
    stopped = w.state.cut
    if stopped is None or not text.strip() or wording.takes_floor(text, w.agent.language, w.policy.min_words):
        return False
    return not _tail(w, stopped, stopped.cut_at)


def _tail(w: Work, stopped: Reply, heard: int) -> bool:
    return wording.answers_tail(stopped.text, heard, w.policy.tail_words)


# --- keys and failures ----------------------------------------------------------------------------------------------


def dtmf(w: Work, event: DtmfPressed) -> None:
    """A key. Keys are collected until ``#`` or a pause, then they are the caller's turn; they stop speech as words do.

    No more than ``MOST_DIGITS`` are taken into one turn: a telephone that floods us must not fill the model's request.
    """
    reply = w.state.reply
    if reply is not None and reply.confirmed and reply.interruptible and reply.playback.outstanding:
        barge_in(w, verdict=False)
    w.set_caller(digits=(w.state.caller.digits + event.digit)[:MOST_DIGITS])
    w.disarm(replies.IDLE)
    w.arm(DTMF, w.now if event.digit == "#" else w.now + w.policy.dtmf_pause_ms)


def dtmf_timer(w: Work) -> None:
    """The keys are complete: they are the caller's turn, with the words said so far, whose late end will amend."""
    digits, said = w.state.caller.digits, w.state.caller.text.strip()
    text = wording.joined(said, f"(pressed on the keypad: {digits})")
    TURN_ENDED[w.state.mode](w, TurnEnded(at_ms=w.now, text=text))
    w.set_caller(digits="", timed_out=said, ended="")


def ear_failed(w: Work, event: EarFailed) -> None:
    """The recogniser is away: the caller is told where that lasts. For good: say so and end the call, or pass it on."""
    if not event.final:
        if not w.state.ear_away and w.policy.ear_away_ms:
            w.arm(EAR_AWAY, w.now + w.policy.ear_away_ms)
        w.set(ear_away=event.kind)
    elif not w.state.ending:
        ear_gone(w, event.kind)


def ear_gone(w: Work, kind: str) -> None:
    """There will be no recogniser any more in this call."""
    w.disarm(EAR_AWAY)
    reason = closing.way_out(w, "ear_failed")
    phrase = "handover" if reason in closing.TRANSFERS else "ear_failed"
    closing.last_words(w, reason, phrase, cause=f"ear:{kind}")


def ear_ready(w: Work, event: EarReady) -> None:
    """The recogniser listens (again)."""
    w.disarm(EAR_AWAY)
    w.set(ear_away="")


def ear_away_timer(w: Work) -> None:
    """Nobody has listened for a while: say so once, as soon as nobody is speaking."""
    caller = w.state.caller
    talks = caller.speaking and w.now - caller.voiced_at_ms < w.policy.noise_ms
    if talks or w.state.reply is not None or w.state.cut is not None:
        w.arm(EAR_AWAY, w.now + EAR_AGAIN_MS)
    else:
        replies.notice(w, "ear_moment", cause=f"ear:{w.state.ear_away}")
