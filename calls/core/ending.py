"""The call around the turns: its start, its timers, and the ways it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.core import answering, closing, hearing, operating, recalling, replies, speech, tooling, wording
from calls.core.commands import CancelTool, EndCall, StaleDropped
from calls.core.phrases import NAME_PLACE
from calls.core.state import Phase

if TYPE_CHECKING:
    from calls.core.events import CallStarted, CarrierGone, ErrorRaised, Event, HangUpAsked, TimerFired, ToolSettled
    from calls.core.work import Work

#: How soon to look again whether a call whose time is up is still an operator's.
OVERTIME_MS = 30_000

#: Who ends a call with a last sentence, and which. Asked again, or while the call ends already, it ends at once.
LAST_WORDS = {"drain": "closing"}

#: What the loss of the stream says about the call, where we did not ask for its end.
GONE_REASONS = {
    "stop": "caller_hung_up",
    "closed": "stream_lost",
    "silent": "media_silent",
    "protocol": "protocol_error",
}


def call_started(w: Work, event: CallStarted) -> None:
    """The stream is ours: greet."""
    w.set(
        phase=Phase.ACTIVE,
        call_sid=event.call_sid,
        agent=event.agent,
        today=event.today,
        recall_ms=event.recall_ms,
    )
    w.arm(replies.MAX_CALL, w.now + w.policy.max_call_ms)
    greeting = _greeting(w)
    if greeting.strip():
        replies.announce(w, "greeting", greeting, interruptible=w.policy.greeting_interruptible)
    else:
        closing.arm_idle(w)


def _greeting(w: Work) -> str:
    """The greeting for this caller, by name where that is known by now and can be said."""
    name = wording.sayable_name(w.state.card.name)
    known = w.agent.returning_greeting.replace(NAME_PLACE, name) if name else ""
    return known if known.strip() else w.agent.greeting


def timer_fired(w: Work, event: TimerFired) -> None:
    """A timer: the late ones are dropped, the current one is spent."""
    armed = next((timer for timer in w.state.timers if timer.name == event.timer), None)
    if armed is None or armed.key != event.key:
        return w.stale(event)
    w.set(timers=tuple(timer for timer in w.state.timers if timer is not armed))
    TIMERS[event.timer](w)
    return None


def idle_timer(w: Work) -> None:
    """Nobody has said anything for long: ask, and after the last question say goodbye.

    While the recogniser is away nobody is asked what could not be heard: if it stays away for as long, it is gone.
    """
    caller, agent = w.state.caller, w.agent
    if caller.text.strip() or (caller.speaking and w.now - caller.voiced_at_ms < w.policy.noise_ms):
        closing.arm_idle(w)
    elif closing.say_next(w):
        return
    elif w.state.ear_away and caller.idle_count < w.policy.idle_prompts:
        w.set_caller(idle_count=caller.idle_count + 1)
        closing.arm_idle(w)
    elif w.state.ear_away:
        hearing.ear_gone(w, w.state.ear_away)
    elif caller.idle_count >= w.policy.idle_prompts or not agent.idle_texts:
        w.set(ending="caller_silent")
        w.arm(replies.GOODBYE, w.now + w.policy.goodbye_ms)
        replies.announce(w, "prompt", agent.goodbye_text)
    else:
        w.set_caller(idle_count=caller.idle_count + 1)
        replies.announce(w, "prompt", agent.idle_texts[caller.idle_count % len(agent.idle_texts)])


def max_call_timer(w: Work) -> None:
    """The longest call: say so, then hang up. A person of ours is not cut short: the time is up when they have handed back."""
    if w.state.operator:
        w.arm(replies.MAX_CALL, w.now + OVERTIME_MS)
    else:
        closing.last_words(w, "max_duration", "time_limit")


def goodbye_timer(w: Work) -> None:
    """The last words took too long: hang up anyway, but neither into what is being played nor into the caller's words."""
    reason, reply = w.state.ending, w.state.reply
    plays_until = speech.expected_end_ms(reply.playback) if reply is not None and reply.playback.outstanding else 0
    if plays_until > w.now:
        w.arm(replies.GOODBYE, plays_until + w.policy.playback_slack_ms)
    elif w.state.caller.text.strip():
        w.arm(replies.GOODBYE, w.now + w.policy.goodbye_ms)
    else:
        closing.stop_everything(w, "call_ended")
        closing.hang_up(w, reason)


def hangup_timer(w: Work) -> None:
    """The carrier did not confirm the end in time; it is over for us."""
    finish(w, w.state.ending)


def hang_up_asked(w: Work, event: HangUpAsked) -> None:
    """Somebody on our side ends the call: now, or after a last sentence where there is one and nothing ends it yet."""
    operating.release(w)
    phrase = LAST_WORDS.get(event.by, "")
    if event.text.strip() and w.state.ending != event.by:
        closing.last_sentence(w, event.by, " ".join(event.text.split()))
        return
    if phrase and not w.state.ending:
        closing.last_words(w, event.by, phrase)
        return
    closing.stop_everything(w, "call_ended")
    closing.hang_up(w, event.by)


def carrier_gone(w: Work, event: CarrierGone) -> None:
    """The stream is gone. Where we had asked for that, our reason stands."""
    reason = w.state.ending if w.state.phase is Phase.ENDING else GONE_REASONS[event.how]
    operating.release(w)
    closing.stop_everything(w, "call_ended")
    finish(w, reason)


def ended_early(w: Work, event: HangUpAsked) -> None:
    """Somebody ends a call that has not begun."""
    finish(w, event.by)


def finish(w: Work, reason: str) -> None:
    """The call has ended: cancel what still runs, for its one reason."""
    w.disarm(*(timer.name for timer in w.state.timers))
    operating.drop_all(w)
    w.emit(*(CancelTool(call_id) for call_id in w.state.running_tools))
    w.set(phase=Phase.ENDED, ending=reason)
    w.emit(EndCall(reason))


def error_raised(w: Work, event: ErrorRaised) -> None:
    """Our own code failed somewhere; it is on record. A reply that depended on it runs into its deadline."""


def recorded_only(w: Work, event: Event) -> None:
    """Nothing follows from it; it stands in the record."""


def late_tool(w: Work, event: ToolSettled) -> None:
    """A tool settled while the call was ending: its result still belongs to the record."""
    answering.tool_settled(w, event)


def late(w: Work, event: Event) -> None:
    """Too late to matter."""
    w.emit(StaleDropped(type(event).__name__))


#: What each timer does when it is due.
TIMERS = {
    replies.WATCH: answering.watch_timer,
    recalling.RECALL: recalling.recall_timer,
    replies.VERDICT: hearing.verdict_timer,
    replies.TURN_END: hearing.turn_end_timer,
    hearing.SILENCE: hearing.silence_timer,
    hearing.DTMF: hearing.dtmf_timer,
    tooling.FILLER: tooling.bridge,
    replies.PATIENCE: tooling.patience,
    replies.IDLE: idle_timer,
    replies.SAY: closing.say_timer,
    operating.GRACE: operating.grace_timer,
    hearing.EAR_AWAY: hearing.ear_away_timer,
    replies.GOODBYE: goodbye_timer,
    replies.HANGUP: hangup_timer,
    replies.MAX_CALL: max_call_timer,
}
