"""The state of one call, frozen, and what its parts mean.

``Mode`` is derived, never set: OPERATOR means that a person of ours has taken over; SPEAKING means that unheard audio of the reply is at the carrier; THINKING that a
confirmed reply is being made; LISTENING everything else, a stopped reply awaiting its verdict and a speculative
one included.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from calls.core.commands import Message, SpokenWord
from calls.core.events import Recalled
from calls.core.policy import AgentProfile
from calls.core.speech import Playback


class Mode(StrEnum):
    """Who has the floor."""

    LISTENING = "LISTENING"
    THINKING = "THINKING"
    SPEAKING = "SPEAKING"
    OPERATOR = "OPERATOR"


class Phase(StrEnum):
    """The call around the turns."""

    CONNECTING = "connecting"
    ACTIVE = "active"
    OPERATOR = "operator"
    ENDING = "ending"
    ENDED = "ended"


class Work(StrEnum):
    """Where a piece of work that a reply needs stands."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


#: Every call ends with exactly one of these.
END_REASONS: dict[str, str] = {
    "caller_hung_up": "the carrier stopped the stream: the caller hung up",
    "agent_hung_up": "the agent said goodbye and ended the call",
    "caller_silent": "nobody answered the idle prompts",
    "max_duration": "the agent's longest call was reached",
    "transferred": "the call was passed on to another number",
    "handed_over": "something failed for good, and the call was passed on to a colleague",
    "stream_lost": "the stream closed without a stop",
    "media_silent": "the stream stayed open but sent no media",
    "protocol_error": "the carrier's messages could not be understood",
    "ear_failed": "speech recognition failed for good",
    "model_failed": "the model failed several times in a row",
    "voice_failed": "the voice failed several times in a row",
    "operator": "an operator ended the call",
    "drain": "the process was asked to stop",
    "overload": "the process could not keep up with the call",
    "internal_error": "our own code failed and the call could not go on",
    "process_died": "the process died; the record was closed by the sweeper",
}

#: Those that nobody wanted.
FAILED_ENDS = frozenset(
    {
        "stream_lost", "media_silent", "protocol_error", "ear_failed", "model_failed", "voice_failed", "overload",
        "internal_error", "process_died",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A function call of the reply. ``outcome`` is empty until it settles; ``started`` once it was handed out;
    ``epoch`` and ``given_id`` are the request's that made it, and the model's own name for it."""

    call_id: str
    name: str
    arguments: str
    effect: str
    started: bool = False
    outcome: str = ""
    output: str = ""
    epoch: int = 0
    given_id: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it was handed out and has not settled."""
        return self.started and not self.outcome


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a reply in the order it was generated: text, or a function call. ``own``: words of ours, not the model's."""

    text: str = ""
    tool: ToolRun | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class OperatorText:
    """A note or a sentence of an operator, under its request's key."""

    key: str
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Waste:
    """What was generated and never heard. A piece of the model's stream counts as a token."""

    chars: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply from its request to its last heard word. Offsets (``said``, ``cut_at``) count characters of ``text``;
    ``told`` counts the function calls whose results the model has been given; ``filled``
    how many there were at the last filler, ``words`` are those of earlier epochs. While ``recall`` runs the model's request
    waits for it; ``recalled`` is what the request then shows. ``causes``: what failed in it, in order, mended or not.

    ``silent``: the request has given nothing yet, and may do so for ``budget_ms`` from ``token_ms``, which is when it was
    made or last gave something; ``asked_again``: its rest was asked for once already, for
    the endpoint ``avoid`` had failed. ``bridged``: offset behind the words that
    bridged a slow model, ``-1`` without. ``answer_audio_ms``: when audio of the model's own words was first sent.

    ``notes``: operators' notes that its requests show; ``saying``: the operator's sentence that it says."""

    turn: int
    epoch: int
    kind: str
    user_text: str = ""
    confirmed: bool = True
    interruptible: bool = True
    parts: tuple[Part, ...] = ()
    model: Work = Work.NONE
    voice: Work = Work.NONE
    said: int = 0
    say_ended: bool = False
    playback: Playback = Playback()
    held: bool = False
    cut_at: int = -1
    answered_say: bool = False
    failed: bool = False
    revoiced: int = 0
    tokens: int = 0
    waste: Waste = Waste()
    speech_ended_ms: int = -1
    committed_ms: int = -1
    first_audio_ms: int = -1
    progress_ms: int = 0
    seam: bool = False
    phrase: str = ""
    told: int = 0
    filled: int = 0
    words: tuple[SpokenWord, ...] = ()
    recall: Work = Work.NONE
    recalled: tuple[Recalled, ...] = ()
    causes: tuple[str, ...] = ()
    silent: bool = True
    token_ms: int = 0
    budget_ms: int = 0
    asked_again: bool = False
    avoid: str = ""
    bridged: int = -1
    answer_audio_ms: int = -1
    notes: tuple[OperatorText, ...] = ()
    saying: OperatorText | None = None

    @property
    def text(self) -> str:
        """All that was generated, and what we said ourselves."""
        return "".join(part.text for part in self.parts)

    @property
    def is_answering(self) -> bool:
        """Whether the model has given any words."""
        return any(part.text.strip() for part in self.parts if not part.own)

    @property
    def answer_was_said(self) -> bool:
        """Whether words of the model have been given to the voice."""
        offset = 0
        for part in self.parts:
            if not part.own and part.text.strip() and offset < self.said:
                return True
            offset += len(part.text)
        return False

    @property
    def tools(self) -> tuple[ToolRun, ...]:
        """Its function calls, in order."""
        return tuple(part.tool for part in self.parts if part.tool is not None)

    def wasted(self, heard: int) -> Waste:
        """Its waste, were it to end with its text heard up to this offset."""
        unheard, whole = len(self.text) - heard, max(1, len(self.text))
        return Waste(self.waste.chars + unheard, self.waste.tokens + self.tokens * unheard // whole)


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of the caller's side right now.

    ``text`` is the open turn so far; ``kept`` waits for a notice that may not be interrupted; ``timed_out`` is text
    that was committed without the recogniser's end of turn, whose late end must amend and not repeat it. ``ended`` is
    the text of the turn that ended last, until the caller is heard again: the same end may come twice.
    """

    speaking: bool = False
    voiced_at_ms: int = -1
    voiced_until_ms: int = -1
    text: str = ""
    kept: str = ""
    timed_out: str = ""
    ended: str = ""
    digits: str = ""
    idle_count: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """What is on file about the caller; empty where nothing is, or not yet."""

    name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that is armed."""

    name: str
    key: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything the core knows. ``cut`` is a stopped reply awaiting its verdict; ``ending`` a reason to hang up
    once the reply has been heard, ``waste`` what discarded guesses generated for the turn that is open. ``ear_away``: how the recogniser failed that is away
    now; empty while it listens; ``ear_is_gone``: for good, while an operator has the floor.

    ``operator``: who has taken over. ``notes`` wait for the next request to the model, ``sayings`` for the next pause."""

    phase: Phase = Phase.CONNECTING
    mode: Mode = Mode.LISTENING
    call_sid: str = ""
    agent: AgentProfile | None = None
    today: str = ""
    turn: int = 0
    epoch: int = 0
    history: tuple[Message, ...] = ()
    reply: Reply | None = None
    cut: Reply | None = None
    caller: Caller = Caller()
    running_tools: tuple[str, ...] = ()
    timers: tuple[Timer, ...] = ()
    timer_key: int = 0
    failures: int = 0
    waste: Waste = Waste()
    ending: str = ""
    recall_ms: int = 0
    card: Card = Card()
    ear_away: str = ""
    ear_is_gone: bool = False
    operator: str = ""
    notes: tuple[OperatorText, ...] = ()
    sayings: tuple[OperatorText, ...] = ()


def mode_of(state: State) -> Mode:
    """The mode that follows from who has the floor, and from the reply."""
    if state.phase is Phase.OPERATOR:
        return Mode.OPERATOR
    reply = state.reply
    if reply is None or not reply.confirmed:
        return Mode.LISTENING
    return Mode.SPEAKING if reply.playback.outstanding else Mode.THINKING
