"""What the model is shown: the agent's instructions, then the conversation as the caller experienced it.

A closed reply enters the history cut at what was heard. The reply in the works is shown as generated, since the
model must be able to go on from its own tool call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls.replay.cores.v1.commands import Message, ToolCallItem

if TYPE_CHECKING:
    from calls.replay.cores.v1.state import Part, Reply, State

INTERRUPTED_NOTE = "(The caller interrupted here and did not hear anything after this.)"
CONTINUE_NOTE = "(A noise stopped you in the middle of your reply. Go on exactly where your text ends, without repeating any of it.)"
NO_RESULT = '{"error":"cancelled: the caller interrupted before this was done"}'
PENDING_RESULT = '{"status":"still running"}'


def opening(state: State) -> tuple[Message, ...]:
    """The instructions. What changes from call to call stands last, so that prompt caches match."""
    agent = state.agent
    text = agent.instructions if agent else ""
    return (Message("developer", f"{text}\n\nToday is {state.today}." if state.today else text),)


def of_reply(reply: Reply, until: int, *, interrupted: bool) -> tuple[Message, ...]:
    """A reply as messages, its text cut at offset ``until``; every tool call stands with its output."""
    messages: list[Message] = []
    if reply.user_text:
        messages.append(Message("user", reply.user_text))
    offset = 0
    for part in reply.parts:
        messages.extend(_of_part(part, max(0, until - offset)))
        offset += len(part.text)
    if interrupted:
        messages.append(Message("developer", INTERRUPTED_NOTE))
    return tuple(messages)


def _of_part(part: Part, room: int) -> tuple[Message, ...]:
    if part.tool is None:
        text = part.text[:room].strip()
        return (Message("assistant", text),) if text else ()
    tool = part.tool
    output = tool.output if tool.outcome else (PENDING_RESULT if tool.started else NO_RESULT)
    call = ToolCallItem(tool.call_id, tool.name, tool.arguments)
    return (Message("assistant", tool_calls=(call,)), Message("tool", output, call_id=tool.call_id))


def request(state: State, reply: Reply, *, resumed: bool = False) -> tuple[Message, ...]:
    """The whole request for ``reply``: a stopped reply that its words end stands before it, cut at what was heard."""
    messages = opening(state) + state.history
    if state.cut is not None and not resumed:
        messages += of_reply(state.cut, state.cut.cut_at, interrupted=True)
    messages += of_reply(reply, len(reply.text), interrupted=False)
    return (*messages, Message("developer", CONTINUE_NOTE)) if resumed else messages
