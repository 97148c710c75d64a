"""The functions a reply calls: started when they may be, settled once, bridged by a filler when one is slow.

``LAST`` functions are the core's own: keypad tones after the last word, then what ends the call.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from calls.core import history, replies, speech
from calls.core.commands import Message, PlayTones, RunTool
from calls.core.phrases import filler_text
from calls.core.state import Part, Reply, ToolRun
from calls.core.state import Work as Stage
from calls.core.wording import glue

if TYPE_CHECKING:
    from calls.core.events import ModelToolCall, ToolSettled
    from calls.core.work import Work

FILLER = "filler"

UNKNOWN_TOOL = '{"error":"there is no such function"}'
NO_TRANSFER = '{"error":"there is nobody to transfer this call to"}'
NO_KEYS = '{"error":"digits must be 1 to 32 of 0-9, *, # and w for a pause"}'
CANCELLED = '{"error":"cancelled: it could not be started in time"}'
DONE = '{"status":"done"}'

_KEYS = re.compile(r"[0-9*#wW]{1,32}")


def noted(w: Work, event: ModelToolCall) -> ToolRun:
    """The call as it enters the reply; one that can never run has its outcome at once."""
    spec = next((tool for tool in w.agent.tools if tool.name == event.name), None)
    tool = ToolRun(
        call_id=fresh_id(w, event.call_id),
        name=event.name,
        arguments=event.arguments,
        effect=spec.effect if spec else "read",
        epoch=event.epoch,
        given_id=event.call_id,
    )
    refusal = ""
    if spec is None:
        refusal = UNKNOWN_TOOL
    elif tool.name == "transfer_call" and not w.agent.transfer_to:
        refusal = NO_TRANSFER
    elif tool.name == replies.TONES and not keys_of(tool.arguments):
        refusal = NO_KEYS
    return replace(tool, started=True, outcome="error", output=refusal) if refusal else tool


def is_repeated(reply: Reply, event: ModelToolCall) -> bool:
    """Whether the request in flight has made this very call already: what it does must happen once."""
    made = (event.epoch, event.call_id, event.name, event.arguments)
    return made in [(tool.epoch, tool.given_id, tool.name, tool.arguments) for tool in reply.tools[reply.told :]]


def fresh_id(w: Work, call_id: str) -> str:
    """The call's id, told apart from an earlier one of the same name: some servers count anew in every response."""
    shown = (*w.state.history, *history.of_reply(w.reply, 0))
    if w.state.cut is not None:
        shown += history.of_reply(w.state.cut, 0)
    used = {message.call_id for message in shown} | {*w.state.running_tools}
    number, fresh = 1, call_id
    while fresh in used:
        number += 1
        fresh = f"{call_id}-{number}"
    return fresh


def start(w: Work) -> None:
    """Hand out the calls that may run now. Only reads run for a turn that is not sure; what cannot be undone also
    waits until the caller is silent."""
    reply = w.reply
    for tool in reply.tools:
        sure = reply.confirmed and not reply.held
        allowed = tool.effect == "read" or (sure and (tool.effect == "reversible" or not w.state.caller.speaking))
        if tool.started or tool.outcome or tool.name in replies.LAST or not allowed:
            continue
        spec = next(spec for spec in w.agent.tools if spec.name == tool.name)
        w.set(reply=replies.with_tool(w.reply, replace(tool, started=True)))
        w.set(running_tools=(*w.state.running_tools, tool.call_id))
        key = f"{w.state.call_sid}:{reply.turn}.{reply.epoch}:{tool.call_id}"
        w.emit(RunTool(reply.turn, tool.call_id, tool.name, tool.arguments, key, spec.timeout_ms))
        if w.policy.filler_ms and w.due_ms(FILLER) < 0:
            w.arm(FILLER, w.now + w.policy.filler_ms)


def bridge(w: Work) -> None:
    """A function takes long and the caller hears nothing: say so, once for each time the model waits for results.

    The words go before the calls, as if the model had said them: a call is directly followed by its result.
    """
    reply = w.state.reply
    if reply is None or reply.filled == len(reply.tools) or not any(tool.is_running for tool in reply.tools):
        return
    on_its_way = reply.voice is Stage.RUNNING and not reply.answered_say
    if not reply.confirmed or reply.held or reply.model is Stage.RUNNING or reply.playback.outstanding or on_its_way:
        w.arm(FILLER, w.now + w.policy.filler_ms)
        return
    at = len(reply.parts)
    while at and reply.parts[at - 1].tool is not None:
        at -= 1
    w.set_reply(filled=len(reply.tools))
    _fill(w, at)


def patience(w: Work) -> None:
    """The model has given nothing for long and the caller hears nothing: say so, once in a reply. Its deadline stays."""
    reply = w.state.reply
    if reply is None or not reply.confirmed or reply.held:
        return
    if reply.model is not Stage.RUNNING or not reply.silent or reply.text[reply.said :].strip():
        return
    quiet_ms = max(reply.progress_ms, speech.expected_end_ms(reply.playback))
    if reply.voice is Stage.RUNNING and not reply.answered_say:
        quiet_ms = w.now
    if quiet_ms + w.policy.patience_ms > w.now:
        w.arm(replies.PATIENCE, quiet_ms + w.policy.patience_ms)
    else:
        _fill(w, len(reply.parts))
        w.set_reply(bridged=len(w.reply.text), seam=True)


def _fill(w: Work, at: int) -> None:
    """Ask for a moment, in the reply's text before its part ``at``."""
    reply = w.reply
    words = Part(glue(reply.text, filler_text(w.agent.language)), own=True)
    w.set_reply(parts=(*reply.parts[:at], words, *reply.parts[at:]))
    replies.speak(w, final=False, again_until=len(w.reply.text))


def finish_deferred(w: Work) -> None:
    """Calls that end the conversation take effect after the last word; note what is to happen then."""
    for tool in w.reply.tools:
        if tool.name in replies.DEFERRED and not tool.outcome and w.reply.confirmed:
            done = replace(tool, started=True, outcome="ok", output=DONE)
            w.set(reply=replies.with_tool(w.reply, done), ending=replies.DEFERRED[tool.name])
            w.arm(replies.GOODBYE, w.now + w.policy.goodbye_ms)


def play_tones(w: Work) -> bool:
    """Send the keys the model pressed, once every word before them was heard. Whether there were any."""
    tool = next((tool for tool in w.reply.tools if tool.name == replies.TONES and not tool.outcome), None)
    if tool is None:
        return False
    w.set(reply=replies.with_tool(w.reply, replace(tool, started=True, outcome="ok", output=DONE)))
    w.emit(PlayTones(w.reply.turn, w.reply.epoch, keys_of(tool.arguments)))
    w.set_reply(voice=Stage.RUNNING, answered_say=False, progress_ms=w.now)
    replies.watch(w)
    return True


def keys_of(arguments: str) -> str:
    """The keys in the arguments of ``send_dtmf``; empty where they are not what its schema says."""
    try:
        keys = json.loads(arguments)["digits"]
    except (ValueError, KeyError, TypeError):
        return ""
    return keys if isinstance(keys, str) and _KEYS.fullmatch(keys) else ""


def settled(reply: Reply, event: ToolSettled) -> Reply | None:
    for tool in reply.tools:
        if tool.call_id == event.call_id and not tool.outcome:
            return replies.with_tool(reply, replace(tool, outcome=event.outcome, output=event.output))
    return None


def with_result(message: Message, event: ToolSettled) -> Message:
    pending = message.call_id == event.call_id and message.text == history.PENDING_RESULT
    return replace(message, text=event.output) if pending else message


def cancel_unstarted(w: Work) -> None:
    for tool in w.reply.tools:
        if not tool.outcome and not tool.started:
            w.set(reply=replies.with_tool(w.reply, replace(tool, outcome="cancelled", output=CANCELLED)))
