"""What our own people do to a call: a note to the model, a sentence for the voice, taking over and handing back.

Every request has one outcome, which names it (``Intervened``): a note that never reaches the model and a sentence that nobody
hears are told as that. While an operator has the floor the gate is theirs and no reply exists; what the caller says is
transcribed and recorded, and the model is shown it when the call is its own again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import closing, hearing, history, replies
from calls.core.commands import Intervened, LendGate, Message, TakeGateBack
from calls.core.phrases import return_text
from calls.core.state import OperatorText, Phase

if TYPE_CHECKING:
    from calls.core.events import (
        OperatorConnected,
        OperatorHandedBack,
        OperatorSaid,
        OperatorTookOver,
        OperatorWhispered,
    )
    from calls.core.work import Work

GRACE = "grace"
#: Notes, and sentences, that may wait at once.
MOST_WAITING = 8
#: Timers that go on while an operator has the floor: what the caller says must come to its end.
KEPT_TIMERS = frozenset({replies.TURN_END, hearing.SILENCE, hearing.DTMF, replies.MAX_CALL})
#: Ends of a call that no operator can stop.
INEVITABLE = frozenset({"drain", "overload", "operator"})


def tell(w: Work, action: str, outcome: str, key: str, by: str) -> None:
    """What became of a request, as of now."""
    w.emit(Intervened(action, outcome, key, by, w.state.turn))


# --- words ----------------------------------------------------------------------------------------------------------


def whispered(w: Work, event: OperatorWhispered) -> None:
    """A note for the model: it waits for the next request, whoever has the floor."""
    text = event.text.strip()
    if text and len(w.state.notes) < MOST_WAITING:
        w.set(notes=(*w.state.notes, OperatorText(event.key, event.by, text)))
    else:
        tell(w, "whisper", "dropped", event.key, event.by)


def said(w: Work, event: OperatorSaid) -> None:
    """A sentence for the agent's voice: it stops what is being said, or waits for a pause. A notice is heard to its end."""
    saying = OperatorText(event.key, event.by, " ".join(event.text.split()))
    if not saying.text or len(w.state.sayings) >= MOST_WAITING or w.state.ending in INEVITABLE:
        tell(w, "say", "dropped", event.key, event.by)
        return
    reply = w.state.reply
    if event.when == "now" and (reply is None or reply.interruptible):
        closing.stop_everything(w, "overridden")
        w.set(ending="")
        w.disarm(replies.GOODBYE, replies.VERDICT)
        closing.say(w, saying, w.state.sayings)
    else:
        w.set(sayings=(*w.state.sayings, saying))
        closing.say_next(w)


def not_now(w: Work, event: OperatorSaid) -> None:
    """The assistant is silent while an operator has the floor."""
    tell(w, "say", "dropped", event.key, event.by)


# --- the floor ------------------------------------------------------------------------------------------------------


def took_over(w: Work, event: OperatorTookOver) -> None:
    """A person of ours takes the floor: the assistant is silent in this very step. What it was going to do is off."""
    if w.state.ending in INEVITABLE:
        tell(w, "take_over", "refused", event.key, event.by)
        return
    closing.stop_everything(w, "overridden")
    drop_sayings(w)
    w.disarm(*(timer.name for timer in w.state.timers if timer.name not in KEPT_TIMERS))
    kept = w.state.caller.kept
    w.set_caller(kept="", idle_count=0)
    if kept:
        closing.with_operator(w, kept)
    epoch = w.state.epoch + 1
    note = Message("developer", history.TAKEN_OVER_NOTE)
    w.set(phase=Phase.OPERATOR, operator=event.by, epoch=epoch, ending="", failures=0)
    w.set(history=(*w.state.history, note))
    w.emit(LendGate(epoch))
    tell(w, "take_over", "taken", event.key, event.by)


def took_over_again(w: Work, event: OperatorTookOver) -> None:
    """Somebody has the floor already: another one is refused, the same one is there again."""
    if event.by == w.state.operator:
        w.disarm(GRACE)
    tell(w, "take_over", "taken" if event.by == w.state.operator else "refused", event.key, event.by)


def connected(w: Work, event: OperatorConnected) -> None:
    """The operator's connection is lost, for which there is a grace, or there again."""
    if event.by != w.state.operator:
        w.stale(event)
    elif event.on:
        w.disarm(GRACE)
    elif w.due_ms(GRACE) < 0:
        w.arm(GRACE, w.now + w.policy.operator_grace_ms)


def grace_timer(w: Work) -> None:
    """The operator is not coming back: the assistant is, and says so."""
    tell(w, "hand_back", "lost", "", w.state.operator)
    release(w)
    w.set(history=(*w.state.history, Message("developer", history.LOST_NOTE)))
    if not _ear_is_gone(w):
        replies.announce(w, "notice", return_text(w.agent.language), interruptible=False)


def handed_back(w: Work, event: OperatorHandedBack) -> None:
    """The call is the assistant's again: it knows the summary, and goes on, unless the caller is speaking."""
    if event.by != w.state.operator:
        not_theirs(w, event)
        return
    tell(w, "hand_back", "done", event.key, event.by)
    release(w)
    note = history.HANDED_BACK_NOTE.format(summary=" ".join(event.summary.split()))
    w.set(history=(*w.state.history, Message("developer", note)))
    caller = w.state.caller
    if not (_ear_is_gone(w) or caller.speaking or caller.text.strip() or caller.digits):
        replies.answer(w, "", kind="return")


def not_theirs(w: Work, event: OperatorHandedBack) -> None:
    """Only who has taken over can hand back."""
    tell(w, "hand_back", "refused", event.key, event.by)


def release(w: Work) -> None:
    """Nobody of ours has the floor any more, if anybody had: their audio ends here."""
    if w.state.operator:
        w.disarm(GRACE)
        w.set(phase=Phase.ACTIVE, operator="")
        w.emit(TakeGateBack(w.state.epoch))


def _ear_is_gone(w: Work) -> bool:
    """See what the recogniser did meanwhile. Whether it is gone for good, and the call with it."""
    kind, gone = w.state.ear_away, w.state.ear_is_gone
    w.set(ear_is_gone=False)
    if gone:
        hearing.ear_gone(w, kind)
    elif kind and w.policy.ear_away_ms:
        w.arm(hearing.EAR_AWAY, w.now + w.policy.ear_away_ms)
    return gone


# --- what came to nothing -----------------------------------------------------------------------------------------------


def drop_sayings(w: Work) -> None:
    """Nobody will say these."""
    for saying in w.state.sayings:
        tell(w, "say", "dropped", saying.key, saying.by)
    w.set(sayings=())


def drop_all(w: Work) -> None:
    """The call is over: what still waits came to nothing."""
    drop_sayings(w)
    for note in w.state.notes:
        tell(w, "whisper", "dropped", note.key, note.by)
    w.set(notes=())
