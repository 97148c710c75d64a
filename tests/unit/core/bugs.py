"""Bugs that voice agents have had, to be put into the core on purpose: what does not find them is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from calls.core import answering, ending, hearing, machine, recalling, replies, speech, tooling
from calls.core import events as e
from calls.core.commands import CancelVoice
from calls.core.state import Mode
from calls.core.state import Work as Stage

if TYPE_CHECKING:
    import pytest

    from calls.core.work import Work


def no_epoch_check(w: Work, turn: int, epoch: int) -> bool:
    """The bug: whatever arrives belongs to the reply there is."""
    return w.state.reply is not None


def echo_is_heard(w: Work, event: e.MarkReturned) -> None:
    """The bug: a mark that a clear gives back counts as played."""
    stopped = w.state.cut
    if stopped is not None and stopped.epoch == event.epoch:
        played = speech.returned(stopped.playback, w.now, event.piece)
        if played is not None:
            heard = speech.heard_until(played, stopped.text, stopped.said, w.now, complete=False)
            w.set(cut=replace(stopped, playback=played, cut_at=max(heard, stopped.cut_at)))
        return
    answering.mark_returned(w, event)


def two_replies(w: Work, event: e.TurnEnded) -> None:
    """The bug: an amended turn gets a second reply, and the first goes on."""
    text = event.text.strip()
    if text and w.reply.interruptible and w.reply.first_audio_ms < 0:
        replies.answer(w, text)
        return
    hearing.turn_ended_over_thinking(w, event)


def clear_forgotten(w: Work) -> None:
    """The bug: barge-in stops the work but leaves the carrier's buffer."""
    reply = w.reply
    replies.stop_work(w)
    w.set(reply=None, cut=replace(reply, cut_at=replies.heard_until(w, reply), held=False))
    w.disarm(replies.WATCH, replies.IDLE)


def put_in_row(monkeypatch: pytest.MonkeyPatch, event: type[e.Event], handler: Any) -> None:
    for mode in machine.TABLE:
        row = machine.TABLE[mode][event]
        if mode is Mode.THINKING or event is not e.TurnEnded:
            monkeypatch.setitem(machine.TABLE[mode], event, row._replace(handler=handler))


def hasty_tools(original: Any) -> Any:
    """The bug: tools run for a guess and over a caller who speaks, as if the turn were sure."""

    def start(w: Work) -> None:
        reply, caller = w.reply, w.state.caller
        w.set_reply(confirmed=True, held=False)
        w.set_caller(speaking=False)
        original(w)
        w.set_reply(confirmed=reply.confirmed, held=reply.held)
        w.set_caller(speaking=caller.speaking)

    return start


def cancel_forgotten(w: Work) -> None:
    """The bug: a resumed or replaced reply leaves the old request running."""
    w.emit(CancelVoice(w.reply.turn, w.reply.epoch))


def mode_kept(original: Any) -> Any:
    """The bug: a reply that failed leaves its deadline behind, and nothing watches the next stage."""

    def watch(w: Work) -> None:
        if w.reply.model is Stage.RUNNING:
            original(w)

    return watch


def any_memory(w: Work, event: e.MemoryRecalled) -> None:
    """The bug: whatever the memory finds goes to the reply there is, and asks its model."""
    if w.state.reply is not None:
        w.disarm(recalling.RECALL)
        w.set_reply(recall=Stage.DONE, recalled=event.items)
        recalling.ask(w)


Install = Callable[["pytest.MonkeyPatch"], None]


@dataclass(frozen=True)
class Bug:
    """A bug: how it is put in, the invariant it breaks (one of several, with bars between), and where from how few events show it."""

    install: Install
    breaks: str
    first: str
    depth: int
    seeds: int = 100
    recall_ms: int = 0


def _in(module: Any, name: str, value: Any) -> Install:
    return lambda patch: patch.setattr(module, name, value)


def _nobodys(module: Any, name: str) -> Install:
    """The timer of this name has another one, at which nothing happens."""

    def install(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(module, name, "nobody's")
        patch.setitem(ending.TIMERS, "nobody's", lambda w: None)

    return install


def _around(module: Any, name: str, wrap: Callable[[Any], Any]) -> Install:
    return lambda patch: patch.setattr(module, name, wrap(getattr(module, name)))


def _row(event: type[e.Event], handler: Any) -> Install:
    return lambda patch: put_in_row(patch, event, handler)


BUGS: dict[str, Bug] = {
    "no epoch check": Bug(_in(answering, "current", no_epoch_check), "turn isolation", "a guess", 3),
    "an echoed mark counts as heard": Bug(_row(e.MarkReturned, echo_is_heard), "turn isolation", "stopped", 3),
    "a second reply to an amended turn": Bug(_row(e.TurnEnded, two_replies), "exactly once", "thinking", 3),
    "barge-in without clear": Bug(_in(replies, "cut", clear_forgotten), "immediate barge-in", "speaking", 3),
    "a request is not cancelled": Bug(
        _in(replies, "stop_work", cancel_forgotten), "exactly once|immediate barge-in", "a guess", 3
    ),
    "sent counts as heard": Bug(
        _in(speech, "position_bytes", lambda playback, at_ms: playback.sent_bytes), "heard truth", "", 0
    ),
    "no verdict is given": Bug(_nobodys(hearing, "VERDICT"), "no dead state", "speaking", 3),
    "nothing watches the voice": Bug(_around(replies, "watch", mode_kept), "no dead state", "thinking", 3),
    "tools run for a turn that is not sure": Bug(_around(tooling, "start", hasty_tools), "tools settle", "a guess", 3),
    "a memory of another turn is used": Bug(
        _row(e.MemoryRecalled, any_memory), "turn isolation", "recalling", 2, recall_ms=300
    ),
    "a stopped reply goes on recalling": Bug(
        _in(recalling, "drop", lambda w: None), "no dead state", "recalling for a guess", 2, recall_ms=300
    ),
    "nothing ends a recall": Bug(_nobodys(recalling, "RECALL"), "no dead state", "the start", 2, recall_ms=300),
    "words over a notice are lost": Bug(_in(hearing, "_keep", lambda w, text: None), "was lost", "", 0, 200),
}
