"""What is known of the caller: the card, and what is recalled for a turn before its model is asked.

Neither is waited for longer than its deadline: the greeting takes the card that is there, the model what came in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import history
from calls.core.commands import AskModel, Intervened, Recall
from calls.core.state import Card
from calls.core.state import Work as Stage

if TYPE_CHECKING:
    from calls.core.events import CardLoaded, MemoryRecalled
    from calls.core.state import OperatorText
    from calls.core.work import Work

RECALL = "recall"
#: A request that is made at all has at least this long for its first word.
LEAST_BUDGET_MS = 1000


def begin(w: Work) -> None:
    """A reply to the caller begins: recall what may help, or ask the model at once in a call without memory."""
    reply, within_ms = w.reply, w.state.recall_ms
    if not within_ms:
        ask(w)
        return
    w.set_reply(recall=Stage.RUNNING)
    w.emit(Recall(reply.turn, reply.epoch, reply.user_text, within_ms))
    w.arm(RECALL, w.now + within_ms)


def ask(w: Work, *, resumed: bool = False) -> None:
    """Ask the model for the reply; ``resumed``: for what follows the text it has given already.

    The time that a request before this one has used without a word is gone.
    """
    spend(w)
    notes = w.state.notes
    w.set(notes=())
    w.set_reply(silent=True, token_ms=w.now, notes=(*w.reply.notes, *notes))
    reply = w.reply
    messages = history.request(w.state, reply, resumed=resumed and reply.is_answering)
    speculative = not reply.confirmed
    w.emit(AskModel(reply.turn, reply.epoch, messages, speculative, within_ms=reply.budget_ms, avoid=reply.avoid))
    if reply.confirmed:
        notes_shown(w, notes)


def notes_shown(w: Work, notes: tuple[OperatorText, ...]) -> None:
    """These notes of operators take effect with the turn of the reply."""
    w.emit(*(Intervened("whisper", "shown", note.key, note.by, w.reply.turn) for note in notes))


def spend(w: Work) -> None:
    """Take what the request has been silent for off the turn's time for a first word."""
    reply = w.reply
    if reply.silent:
        w.set_reply(budget_ms=max(LEAST_BUDGET_MS, reply.budget_ms - (w.now - reply.token_ms)))


def memory_recalled(w: Work, event: MemoryRecalled) -> None:
    """What was recalled for the reply, in time: ask the model with what of it is for the prompt."""
    reply = w.state.reply
    if reply is None or (reply.turn, reply.epoch) != (event.turn, event.epoch) or reply.recall is not Stage.RUNNING:
        return w.stale(event)
    w.disarm(RECALL)
    shown = tuple(item for item in event.items if item.in_prompt)
    w.set_reply(recall=Stage.DONE, recalled=shown, progress_ms=w.now)
    ask(w)
    return None


def recall_timer(w: Work) -> None:
    """Memory was too slow: ask the model without it. What comes later is only counted."""
    w.set_reply(recall=Stage.FAILED, progress_ms=w.now)
    ask(w)


def drop(w: Work) -> None:
    """The reply is stopped: nothing waits for its memory any more."""
    if w.reply.recall is Stage.RUNNING:
        w.disarm(RECALL)
        w.set_reply(recall=Stage.FAILED)


def card_loaded(w: Work, event: CardLoaded) -> None:
    """What is on file about the caller, for every request from here on; a later card stands in place of an earlier one."""
    w.set(card=Card(event.name, event.text))
