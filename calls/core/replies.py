"""The life of a reply: begin, be confirmed, spoken, held, cut and resumed. How it ends is in ``calls.core.closing``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from calls.core import recalling, speech
from calls.core.commands import (
    CancelModel,
    CancelTool,
    CancelVoice,
    Clear,
    CloseGate,
    EndSay,
    OpenGate,
    PlayPhrase,
    Say,
    SpokenWord,
)
from calls.core.phrases import phrase_text
from calls.core.speech import Playback
from calls.core.state import OperatorText, Part, Reply, ToolRun, Waste
from calls.core.state import Work as Stage
from calls.core.wording import speakable_until

if TYPE_CHECKING:
    from calls.core.work import Work

WATCH = "reply"
PATIENCE = "patience"
VERDICT = "verdict"
IDLE = "idle"
HANGUP = "hangup"
MAX_CALL = "max_call"
GOODBYE = "goodbye"
TURN_END = "turn_end"
SAY = "say"

#: How much later than its time-out a tool's outcome may come before it is given up.
SETTLE_MS = 500

#: Functions that take effect once the reply has been heard, and the end reason each leads to.
DEFERRED = {"end_call": "agent_hung_up", "transfer_call": "transferred"}
#: Keys pressed by the model: tones in the audio, after its words.
TONES = "send_dtmf"
#: What the core itself does after the last word; the model need not be asked again for it.
LAST = frozenset({*DEFERRED, TONES})


# --- beginning ----------------------------------------------------------------------------------------------------


def answer(w: Work, user_text: str, *, confirmed: bool = True, kind: str = "answer") -> None:
    """Begin the reply to a caller's turn. An unconfirmed one is held by the gate and takes no turn number yet.

    One to nothing that the caller said has its own ``kind``, and nothing is recalled for it.
    """
    turn, epoch = w.state.turn + 1, w.state.epoch + 1
    reply = Reply(
        turn=turn,
        epoch=epoch,
        kind=kind,
        user_text=user_text,
        confirmed=confirmed,
        model=Stage.RUNNING,
        speech_ended_ms=w.state.caller.voiced_until_ms if user_text else -1,
        committed_ms=w.now if confirmed else -1,
        progress_ms=w.now,
        token_ms=w.now,
        budget_ms=w.policy.first_token_ms,
        waste=w.state.waste,
    )
    w.set(reply=reply, epoch=epoch, turn=turn if confirmed else w.state.turn, waste=Waste())
    if user_text:
        recalling.begin(w)
    else:
        recalling.ask(w)
    if confirmed:
        w.emit(OpenGate(turn, epoch))
        watch(w)
    w.disarm(IDLE)


def confirm(w: Work) -> None:
    """The turn ended as guessed: the speculative reply is the reply, and may be heard."""
    reply = w.reply
    w.set(turn=reply.turn)
    w.set_reply(
        confirmed=True,
        committed_ms=w.now,
        progress_ms=w.now,
        token_ms=w.now,
        speech_ended_ms=w.state.caller.voiced_until_ms,
    )
    w.emit(OpenGate(reply.turn, reply.epoch))
    recalling.notes_shown(w, reply.notes)
    watch(w)


def discard_draft(w: Work) -> None:
    """The guess was wrong: drop the speculative reply. What it generated counts as waste of the next one."""
    reply = w.reply
    stop_work(w)
    cancel_tools(w, reply)
    give_notes_back(w, reply)
    w.set(reply=None, waste=reply.wasted(0))


def give_notes_back(w: Work, reply: Reply) -> None:
    """Nothing came of this reply: what operators whispered for it is for the next one."""
    w.set(notes=(*reply.notes, *w.state.notes))


def announce(w: Work, kind: str, text: str, *, interruptible: bool = True, saying: OperatorText | None = None) -> None:
    """Say something of our own: greeting, idle prompt, notice, or what an operator has the agent say."""
    epoch = w.state.epoch + 1
    turn = w.state.turn if kind == "greeting" else w.state.turn + 1
    reply = Reply(
        turn=turn,
        epoch=epoch,
        kind=kind,
        interruptible=interruptible,
        parts=(Part(text),),
        committed_ms=w.now,
        progress_ms=w.now,
        saying=saying,
    )
    w.set(reply=reply, epoch=epoch, turn=turn)
    w.emit(OpenGate(turn, epoch))
    w.disarm(IDLE)
    speak(w, final=True)
    watch(w)


def notice(w: Work, phrase: str, cause: str = "") -> None:
    """Play a recorded phrase that may not be interrupted; ``cause`` is what made it necessary, where something failed."""
    text = phrase_text(w.agent, phrase)
    epoch, turn = w.state.epoch + 1, w.state.turn + 1
    reply = Reply(
        turn=turn,
        epoch=epoch,
        kind="notice",
        interruptible=False,
        parts=(Part(text),),
        said=len(text),
        say_ended=True,
        voice=Stage.RUNNING,
        phrase=phrase,
        committed_ms=w.now,
        progress_ms=w.now,
        causes=(cause,) if cause else (),
    )
    w.set(reply=reply, epoch=epoch, turn=turn)
    w.emit(PlayPhrase(turn, epoch, phrase), OpenGate(turn, epoch))
    w.disarm(IDLE)
    watch(w)


# --- speaking -----------------------------------------------------------------------------------------------------


def speak(w: Work, *, final: bool, again_until: int = 0) -> None:
    """Give the voice what may be said now; ``final``: the text of this reply is complete. What was said before, up to
    ``again_until``, waits for nothing.

    A voice that failed gets nothing more in this epoch: it is said anew once what the carrier has was heard.
    """
    reply = w.reply
    if reply.voice is Stage.FAILED:
        return
    text = reply.text
    first = reply.said in (reply.playback.text_from, reply.bridged)
    until = max(again_until, speakable_until(text, reply.said, w.policy, first=first, final=final))
    if until > reply.said and (text[reply.said : until].strip() or reply.voice is Stage.RUNNING):
        w.emit(Say(reply.turn, reply.epoch, text[reply.said : until]))
        w.set_reply(said=until, voice=Stage.RUNNING, answered_say=False, progress_ms=w.now)
        watch(w)
    if final and w.reply.voice is Stage.RUNNING and not reply.say_ended:
        w.emit(EndSay(reply.turn, reply.epoch))
        w.set_reply(say_ended=True)


def let_out(w: Work) -> None:
    """Open the gate for the reply's epoch, unless it must not be heard yet."""
    if w.reply.confirmed and not w.reply.held:
        w.emit(OpenGate(w.reply.turn, w.reply.epoch))


def watch(w: Work) -> None:
    """Keep a deadline on a confirmed reply: no stage of it may last for ever. A slow model has an earlier one, after which
    the caller is asked for patience.

    The timer is lazy: a deadline that moves away leaves it where it is, and it looks again when it fires.
    """
    reply = w.state.reply
    if reply is None or not reply.confirmed or reply.held:
        return
    armed, due = w.due_ms(WATCH), max(w.now + 1, deadline(w)[1])
    if armed < 0 or due < armed:
        w.arm(WATCH, due)
    waits = reply.model is Stage.RUNNING and reply.silent and reply.bridged < 0
    if waits and w.policy.patience_ms and w.due_ms(PATIENCE) < 0:
        w.arm(PATIENCE, max(w.now + 1, reply.token_ms + w.policy.patience_ms))


def deadline(w: Work) -> tuple[str, int]:
    """The stage the reply is in (``playback``, ``voice``, ``model``, ``tools``) and when it must have moved."""
    reply, policy = w.reply, w.policy
    if reply.playback.outstanding:
        return "playback", speech.expected_end_ms(reply.playback) + policy.playback_slack_ms
    complete = reply.model is not Stage.RUNNING and all(tool.outcome for tool in reply.tools)
    if reply.voice is Stage.RUNNING and (complete or not reply.answered_say):
        return "voice", reply.progress_ms + policy.first_audio_ms
    if reply.model is Stage.RUNNING:
        return "model", reply.token_ms + (reply.budget_ms if reply.silent else policy.first_token_ms)
    names = {tool.name for tool in reply.tools if not tool.outcome}
    limits = [tool.timeout_ms + SETTLE_MS for tool in w.agent.tools if tool.name in names]
    return "tools", reply.progress_ms + max([policy.tool_timeout_ms, *limits])


def voiced_completely(reply: Reply) -> bool:
    """Whether all audio of what was said in this epoch has been sent."""
    return reply.voice in (Stage.DONE, Stage.NONE)


def heard_until(w: Work, reply: Reply) -> int:
    """The offset in the reply's text up to which the caller has heard it by now."""
    return speech.heard_until(reply.playback, reply.text, reply.said, w.now, complete=voiced_completely(reply))


def spoken_words(w: Work, reply: Reply) -> tuple[SpokenWord, ...]:
    """What became of the reply's words so far, were its present epoch stopped now."""
    complete = voiced_completely(reply)
    return reply.words + speech.spoken(reply.playback, reply.text, reply.said, w.now, complete=complete)


# --- stopping -----------------------------------------------------------------------------------------------------


def stop_work(w: Work) -> None:
    """Cancel memory, model and voice of the reply. Its epoch is dead at the gate from here on."""
    recalling.drop(w)
    w.disarm(PATIENCE)
    reply = w.reply
    w.emit(CancelModel(reply.turn, reply.epoch), CancelVoice(reply.turn, reply.epoch))


def cut(w: Work) -> None:
    """Barge-in: stop the reply in this very step and put it aside until the verdict."""
    stop_work(w)
    reply = w.reply
    w.emit(Clear(reply.epoch))
    reply = replace(reply, cut_at=heard_until(w, reply), words=spoken_words(w, reply), held=False)
    w.set(reply=None, cut=reply)
    w.disarm(WATCH, IDLE)


def hold(w: Work) -> None:
    """The caller speaks before the reply is audible: keep it silent until it is clear what was said."""
    if not w.reply.held:
        w.set_reply(held=True)
        w.emit(CloseGate(w.reply.epoch))
        w.disarm(WATCH, PATIENCE)


def release(w: Work) -> None:
    """It was nothing: let the held reply be heard."""
    reply = w.reply
    w.set_reply(held=False, progress_ms=w.now, token_ms=w.now)
    w.emit(OpenGate(reply.turn, reply.epoch))
    watch(w)


def resume(w: Work) -> None:
    """No words followed the stop: go on from the first unheard word. It is the same reply."""
    stopped = w.state.cut
    assert stopped is not None  # noqa: S101 - guaranteed by the callers
    if w.state.reply is not None:
        discard_draft(w)
    epoch = w.state.epoch + 1
    unfinished = stopped.model is Stage.RUNNING
    reply = replace(
        stopped,
        epoch=epoch,
        cut_at=-1,
        said=stopped.cut_at,
        say_ended=bool(stopped.phrase),
        voice=Stage.NONE,
        playback=Playback(text_from=stopped.cut_at),
        progress_ms=w.now,
        token_ms=w.now,
        seam=unfinished,
    )
    w.set(reply=reply, cut=None, epoch=epoch)
    w.set_caller(text="")
    w.disarm(VERDICT, TURN_END)
    w.emit(OpenGate(reply.turn, epoch))
    if reply.phrase:
        w.set_reply(said=len(reply.text), voice=Stage.RUNNING)
        w.emit(PlayPhrase(reply.turn, epoch, reply.phrase))
    else:
        if unfinished:
            recalling.ask(w, resumed=True)
        speak(w, final=False, again_until=stopped.said)
    watch(w)


# --- its functions ------------------------------------------------------------------------------------------------


def cancel_tools(w: Work, reply: Reply) -> None:
    """Only reads are cancelled: what may have changed the world runs to its end, and its result enters the history."""
    for tool in reply.tools:
        if tool.is_running and tool.effect == "read":
            w.emit(CancelTool(tool.call_id))


def with_tool(reply: Reply, tool: ToolRun) -> Reply:
    """The reply with this call in place of the one of the same id."""
    parts = tuple(Part(tool=tool) if p.tool is not None and p.tool.call_id == tool.call_id else p for p in reply.parts)
    return replace(reply, parts=parts)
