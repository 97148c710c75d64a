"""What model, tools and voice do to the reply they belong to. Everything of another epoch is dropped and counted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from calls.core import closing, recalling, replies, speech, tooling, wording
from calls.core.commands import CancelModel, CancelTool, CancelVoice, PlayPhrase
from calls.core.phrases import phrase_text
from calls.core.speech import Playback
from calls.core.state import Part, Reply
from calls.core.state import Work as Stage
from calls.core.wording import glue, plain

if TYPE_CHECKING:
    from calls.core.events import (
        AudioSent,
        MarkReturned,
        ModelAttemptFailed,
        ModelFailed,
        ModelFinished,
        ModelText,
        ModelToolCall,
        ToolSettled,
        VoiceFailed,
        VoiceFinished,
        WordsTimed,
    )
    from calls.core.work import Work

MOST_FAILURES = 3
MOST_TOOL_CALLS = 6
TIMED_OUT = '{"error":"this took too long"}'


def current(w: Work, turn: int, epoch: int) -> bool:
    """Whether this belongs to the reply in the works."""
    reply = w.state.reply
    return reply is not None and reply.turn == turn and reply.epoch == epoch


# --- model ----------------------------------------------------------------------------------------------------------


def model_text(w: Work, event: ModelText) -> None:
    """More of the reply: append, and give the voice what may be said."""
    if not _from_running_model(w, event.turn, event.epoch):
        return w.stale(event)
    reply = w.reply
    text = glue(reply.text, event.text) if reply.seam else event.text
    w.set_reply(parts=_append(reply.parts, text), tokens=reply.tokens + 1, seam=False)
    _piece_came(w)
    replies.speak(w, final=False)
    return None


def _piece_came(w: Work) -> None:
    """The request has given something."""
    recalling.spend(w)
    w.set_reply(silent=False, token_ms=w.now, progress_ms=w.now)
    w.disarm(replies.PATIENCE)


def model_tool_call(w: Work, event: ModelToolCall) -> None:
    """A function call: run it now, or when the turn is sure, or after the last word."""
    if not _from_running_model(w, event.turn, event.epoch) or tooling.is_repeated(w.reply, event):
        return w.stale(event)
    w.set_reply(parts=(*w.reply.parts, Part(tool=tooling.noted(w, event))), seam=True)
    _piece_came(w)
    tooling.start(w)
    return None


def model_finished(w: Work, event: ModelFinished) -> None:
    """The request is complete: say the rest, or ask again with the tools' results."""
    if not _from_running_model(w, event.turn, event.epoch):
        return w.stale(event)
    _piece_came(w)
    w.set_reply(model=Stage.DONE)
    if not w.reply.is_answering and not w.reply.tools:
        blame(w, "model:empty")
        return fail_reply(w, "model_failed")
    if len(w.reply.tools) == w.reply.told:
        _apologise(w)
    go_on(w)
    return None


def model_failed(w: Work, event: ModelFailed) -> None:
    """The request failed: ask once for the rest of what it has begun, else end it cleanly, or say the phrase for it."""
    if not _from_running_model(w, event.turn, event.epoch):
        return w.stale(event)
    blame(w, f"model:{event.kind}")
    reply = w.reply
    begun = reply.is_answering or len(reply.tools) > reply.told
    if event.retryable and begun and reply.confirmed and not reply.asked_again:
        return ask_for_rest(w, event.endpoint)
    return give_up_model(w)


def model_attempt_failed(w: Work, event: ModelAttemptFailed) -> None:
    """The request goes on by another attempt; what failed is on record."""
    if not _from_running_model(w, event.turn, event.epoch):
        return w.stale(event)
    blame(w, f"model:{event.kind}")
    return None


def ask_for_rest(w: Work, endpoint: str) -> None:
    """The request was cut off: its words stand, and the rest is asked for in the same reply.

    Functions that it called are whole; their results are given with the next request, as always. A last word that the voice
    has not got may be half of one: the model says it again.
    """
    reply = w.reply
    w.set_reply(asked_again=True, avoid=endpoint, seam=True)
    if len(reply.tools) > reply.told:
        w.set_reply(model=Stage.DONE)
        return go_on(w)
    whole = max(reply.said, wording.whole_words_until(reply.text))
    w.set_reply(parts=_truncated(reply.parts, whole))
    replies.speak(w, final=False, again_until=whole)
    recalling.ask(w, resumed=True)
    return replies.watch(w)


def blame(w: Work, cause: str) -> None:
    """Something the reply needs has failed: who and how."""
    w.set_reply(causes=(*w.reply.causes, cause))


def give_up_model(w: Work) -> None:
    """No more text will come for this reply."""
    reply = w.reply
    if not reply.confirmed:
        return replies.discard_draft(w)
    w.emit(CancelModel(reply.turn, reply.epoch))
    w.set_reply(model=Stage.FAILED, failed=True)
    if reply.is_answering:
        w.set(failures=w.state.failures + 1)
        whole = max(reply.said, wording.whole_words_until(reply.text))
        w.set_reply(parts=_truncated(reply.parts, whole))
        _apologise(w)
        return go_on(w)
    return fail_reply(w, "model_failed")


def _apologise(w: Work) -> None:
    """The caller is left waiting: for what a function found, after words of ours, or in the middle of a sentence. Say so."""
    reply = w.reply
    last = reply.parts[-1] if reply.parts else Part()
    broken_off = reply.model is Stage.FAILED and not wording.ends_sentence(last.text)
    if last.tool is not None or last.own or broken_off:
        text = glue(reply.text, phrase_text(w.agent, "model_failed"))
        w.set_reply(parts=(*reply.parts, Part(text, own=True)), failed=True)


def go_on(w: Work) -> None:
    """The model has finished: run what waited, ask again once every tool has settled, else say the rest."""
    tooling.start(w)
    reply = w.reply
    unsettled = [tool for tool in reply.tools if not tool.outcome]
    if reply.model is Stage.DONE and not unsettled and _owes_answer(reply):
        ask_again(w)
        return
    waiting = [tool for tool in unsettled if tool.name not in replies.LAST]
    replies.speak(w, final=not waiting)
    if not waiting:
        tooling.finish_deferred(w)
    replies.watch(w)
    closing.settle(w)


def ask_again(w: Work) -> None:
    """Give the model its tools' results; same reply, same epoch."""
    reply = w.reply
    if len(reply.tools) > MOST_TOOL_CALLS:
        blame(w, "model:too_many_calls")
        give_up_model(w)
        return
    budget_ms = w.policy.first_token_ms
    w.set_reply(model=Stage.RUNNING, progress_ms=w.now, seam=True, told=len(reply.tools), budget_ms=budget_ms)
    replies.speak(w, final=False)
    recalling.ask(w)
    replies.watch(w)


def _owes_answer(reply: Reply) -> bool:
    """Whether the model has called a function since its last request whose result it must see.

    Never once the reply is to end the call: its last word has been given to the voice.
    """
    if any(tool.name in replies.DEFERRED and tool.outcome == "ok" for tool in reply.tools):
        return False
    return any(tool.name not in replies.LAST or tool.outcome == "error" for tool in reply.tools[reply.told :])


def _from_running_model(w: Work, turn: int, epoch: int) -> bool:
    return current(w, turn, epoch) and w.reply.model is Stage.RUNNING and w.reply.recall is not Stage.RUNNING


def _append(parts: tuple[Part, ...], text: str) -> tuple[Part, ...]:
    if parts and parts[-1].tool is None and not parts[-1].own:
        return (*parts[:-1], Part(parts[-1].text + text))
    return (*parts, Part(text))


# --- tools ----------------------------------------------------------------------------------------------------------


def tool_settled(w: Work, event: ToolSettled) -> None:
    """A tool has its outcome. Its result goes where the call stands by now: the reply, a stopped one, the history."""
    if event.call_id not in w.state.running_tools:
        return w.stale(event)
    w.set(running_tools=tuple(call_id for call_id in w.state.running_tools if call_id != event.call_id))
    reply, stopped = w.state.reply, w.state.cut
    if reply is not None and (settled := tooling.settled(reply, event)) is not None:
        w.set(reply=replace(settled, progress_ms=w.now))
        if settled.model is not Stage.RUNNING:
            go_on(w)
    elif stopped is not None and (settled := tooling.settled(stopped, event)) is not None:
        w.set(cut=settled)
    else:
        w.set(history=tuple(tooling.with_result(message, event) for message in w.state.history))
    return None


# --- voice ----------------------------------------------------------------------------------------------------------


def audio_sent(w: Work, event: AudioSent) -> None:
    """A piece of the reply is at the carrier. Should the caller have begun to speak meanwhile, stop it at once."""
    if not current(w, event.turn, event.epoch):
        return w.stale(event)
    reply = w.reply
    playback = speech.sent(reply.playback, w.now, event.piece, event.size_bytes)
    if playback is None:
        return w.stale(event)
    w.set_reply(
        playback=playback,
        first_audio_ms=reply.first_audio_ms if reply.first_audio_ms >= 0 else w.now,
        answered_say=True,
        answer_audio_ms=w.now if reply.answer_audio_ms < 0 and reply.answer_was_said else reply.answer_audio_ms,
        progress_ms=w.now,
    )
    if reply.held:
        replies.cut(w)
    else:
        replies.watch(w)
    return None


def words_timed(w: Work, event: WordsTimed) -> None:
    """Word timestamps; they may come before or after their audio, and for a draft too."""
    if not current(w, event.turn, event.epoch):
        return w.stale(event)
    playback = speech.with_words(w.reply.playback, event.words)
    if playback is None:
        return w.stale(event)
    w.set_reply(playback=playback)
    return None


def voice_finished(w: Work, event: VoiceFinished) -> None:
    """All audio of this epoch is out. None at all, where there were words to say, is a failure."""
    if not current(w, event.turn, event.epoch) or w.reply.voice is not Stage.RUNNING:
        return w.stale(event)
    playback = w.reply.playback
    if not playback.sent_bytes and plain(w.reply.text[playback.text_from : w.reply.said]):
        blame(w, "voice:empty")
        return give_up_voice(w)
    w.set_reply(voice=Stage.DONE)
    closing.settle(w)
    replies.watch(w)
    return None


def mark_returned(w: Work, event: MarkReturned) -> None:
    """Played, if it belongs to the current epoch; else flushed by a clear, and nothing follows from it."""
    if not current(w, event.turn, event.epoch):
        return w.stale(event)
    playback = speech.returned(w.reply.playback, w.now, event.piece)
    if playback is None:
        return w.stale(event)
    w.set_reply(playback=playback, progress_ms=w.now)
    after_playback(w)
    return None


def after_playback(w: Work) -> None:
    """Everything sent so far has been heard, or some of it."""
    if w.reply.voice is Stage.FAILED and not w.reply.playback.outstanding:
        revoice(w)
    else:
        closing.settle(w)
        replies.watch(w)


def voice_failed(w: Work, event: VoiceFailed) -> None:
    """The voice failed: what the carrier has plays out, then the rest is said anew."""
    if not current(w, event.turn, event.epoch) or w.reply.voice is not Stage.RUNNING:
        return w.stale(event)
    blame(w, f"voice:{event.kind}")
    return give_up_voice(w)


def give_up_voice(w: Work) -> None:
    """Nothing more will come of this epoch's audio."""
    w.emit(CancelVoice(w.reply.turn, w.reply.epoch))
    w.set_reply(voice=Stage.FAILED, progress_ms=w.now)
    if not w.reply.playback.outstanding:
        revoice(w)


def revoice(w: Work) -> None:
    """Say the unheard words in a new epoch; the second time, the recorded phrase for it."""
    reply = w.reply
    heard = replies.heard_until(w, reply)
    if reply.revoiced or reply.phrase:
        fail_reply(w, "voice_failed")
        return
    if reply.model is Stage.RUNNING:
        w.emit(CancelModel(reply.turn, reply.epoch))
    epoch = w.state.epoch + 1
    w.set(epoch=epoch)
    w.set_reply(
        epoch=epoch,
        voice=Stage.NONE,
        said=heard,
        say_ended=False,
        playback=Playback(text_from=heard),
        words=replies.spoken_words(w, reply),
        revoiced=1,
        progress_ms=w.now,
    )
    replies.let_out(w)
    if reply.model is Stage.RUNNING:
        recalling.ask(w, resumed=True)
        w.set_reply(seam=True)
    replies.speak(w, final=False, again_until=reply.said)
    replies.watch(w)
    if reply.model is not Stage.RUNNING:
        go_on(w)


def fail_reply(w: Work, phrase: str) -> None:
    """The reply cannot be finished: its turn ends with the recorded phrase; too often in a row, so does the call.

    A speculative one is only a guess less: its turn is answered afresh when it ends.
    """
    reply = w.reply
    if not reply.confirmed:
        replies.discard_draft(w)
        return
    failures = w.state.failures + 1
    over = failures >= MOST_FAILURES
    if over:
        reason = w.state.ending or closing.way_out(w, "voice_failed" if reply.voice is Stage.FAILED else "model_failed")
        phrase = "handover" if reason in closing.TRANSFERS else "trouble"
        w.set(ending=reason)
    heard = replies.heard_until(w, reply)
    text = phrase_text(w.agent, phrase)
    epoch = w.state.epoch + 1
    replies.stop_work(w)
    tooling.cancel_unstarted(w)
    reply = w.reply
    w.set(epoch=epoch, failures=failures)
    w.set_reply(
        epoch=epoch,
        parts=(*_truncated(reply.parts, heard), Part(glue(reply.text[:heard], text), own=True)),
        said=heard + len(glue(reply.text[:heard], text)),
        say_ended=True,
        playback=Playback(text_from=heard),
        words=replies.spoken_words(w, reply),
        model=Stage.DONE if reply.model is Stage.NONE else Stage.FAILED,
        voice=Stage.RUNNING,
        phrase=phrase,
        failed=True,
        interruptible=not over,
        tokens=0,
        waste=reply.wasted(heard),
        progress_ms=w.now,
    )
    if reply.phrase:
        give_up_speaking(w)
        return
    w.emit(PlayPhrase(reply.turn, epoch, phrase))
    replies.let_out(w)
    replies.watch(w)


def give_up_speaking(w: Work) -> None:
    """Not even the phrase could be played: close the turn in silence and let the caller speak."""
    reply = replace(w.reply, said=w.reply.playback.text_from)
    w.disarm(replies.WATCH)
    w.set(reply=None)
    closing.close(w, reply, "failed_to_fallback", reply.said)
    closing.after_reply(w)


def _truncated(parts: tuple[Part, ...], until: int) -> tuple[Part, ...]:
    kept: list[Part] = []
    offset = 0
    for part in parts:
        if part.tool is not None:
            kept.append(part)
        elif until > offset:
            kept.append(replace(part, text=part.text[: until - offset]))
        offset += len(part.text)
    return tuple(kept)


# --- the watch ------------------------------------------------------------------------------------------------------


def watch_timer(w: Work) -> None:
    """A stage of the reply is overdue, or the lazy timer must look again."""
    stage, due = replies.deadline(w)
    if w.now < due:
        w.arm(replies.WATCH, due)
        return
    OVERDUE[stage](w)
    if w.state.reply is not None:
        replies.watch(w)


def _model_overdue(w: Work) -> None:
    blame(w, "model:overdue")
    give_up_model(w)


def _voice_overdue(w: Work) -> None:
    blame(w, "voice:overdue")
    give_up_voice(w)


def _marks_lost(w: Work) -> None:
    blame(w, "carrier:mark_lost")
    w.set_reply(playback=speech.all_heard(w.reply.playback), progress_ms=w.now)
    after_playback(w)


def _tools_stuck(w: Work) -> None:
    """A call that could not be started in time never will be; one that never settled is given up."""
    blame(w, "tool:overdue")
    for tool in w.reply.tools:
        if tool.is_running:
            w.emit(CancelTool(tool.call_id))
            w.set(reply=replies.with_tool(w.reply, replace(tool, outcome="timeout", output=TIMED_OUT)))
    tooling.cancel_unstarted(w)
    w.set_reply(progress_ms=w.now)
    go_on(w)


#: What to do when a stage is overdue, by the names that ``replies.deadline`` gives.
OVERDUE = {"playback": _marks_lost, "voice": _voice_overdue, "model": _model_overdue, "tools": _tools_stuck}
