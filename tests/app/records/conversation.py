"""Conversations for tests of records: the real core, driven by a script in place of caller, model and voice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from calls.bus import StepTaken
from calls.core.commands import AskModel, Clear, EndSay, HangUp, RunTool, Say
from calls.core.events import (
    AudioSent,
    CallStarted,
    CarrierGone,
    MarkReturned,
    ModelFinished,
    ModelText,
    ModelToolCall,
    SpeechEnded,
    SpeechStarted,
    TimedWord,
    ToolSettled,
    TurnEnded,
    TurnOpened,
    VoiceFinished,
    WordsHeard,
    WordsTimed,
)
from calls.core.machine import step
from calls.core.policy import AgentProfile, TurnPolicy
from calls.core.state import State
from calls.tools import SPECS

if TYPE_CHECKING:
    from calls.core.commands import Command
    from calls.core.events import Event

WORD_MS = 260
PROFILE = AgentProfile(
    name="Bella Vista",
    version=1,
    instructions="You are the receptionist of a small restaurant.",
    greeting="Bella Vista, good day! How can I help you?",
    voice="voice-1",
    tools=(SPECS["book_table"], SPECS["end_call"]),
    policy=TurnPolicy(speculative=False),
)


@dataclass
class Conversation:
    """One call. ``now`` is the call's clock in milliseconds; every step the core takes lands in ``steps``."""

    call_sid: str = "CA" + "0" * 32
    wall_ms: int = 1_795_000_000_000
    profile: AgentProfile = PROFILE
    now: int = 0
    state: State = field(default_factory=State)
    steps: list[StepTaken] = field(default_factory=list)

    def post(self, event: Event) -> tuple[Command, ...]:
        """Give the core an event now."""
        event = replace(event, at_ms=self.now)
        self.state, commands = step(self.state, event)
        self.steps.append(StepTaken(len(self.steps) + 1, self.wall_ms + self.now, event, commands, self.state))
        return commands

    def commands(self, kind: type[Any]) -> list[Any]:
        """All commands of a class so far."""
        return [command for taken in self.steps for command in taken.commands if isinstance(command, kind)]

    def begin(self) -> None:
        """The stream is up."""
        self.post(CallStarted(call_sid=self.call_sid, agent=self.profile, today="Monday, 23 November 2026"))

    def caller_says(self, text: str, *, end_wait_ms: int = 260, mistaken_for: str = "") -> None:
        """A whole utterance and the recogniser's verdict; ``mistaken_for``: what it took it for just before."""
        words = text.split()
        self.post(SpeechStarted(voiced_at_ms=self.now - 90))
        self.post(TurnOpened())
        for count in range(1, len(words) + 1):
            self.now += WORD_MS
            self.post(WordsHeard(text=" ".join(words[:count])))
        if mistaken_for:
            self.post(WordsHeard(text=mistaken_for))
        voiced_until = self.now
        self.now += 120
        self.post(SpeechEnded(voiced_until_ms=voiced_until))
        self.now += end_wait_ms - 120
        self.post(TurnEnded(text=text))

    def model_says(self, text: str, *, wait_ms: int = 310, tool: tuple[str, str] | None = None) -> None:
        """The model answers its newest request with this text and perhaps a function call."""
        ask: AskModel = self.commands(AskModel)[-1]
        self.now += wait_ms
        for word in text.split(" ") if text else ():
            self.post(ModelText(turn=ask.turn, epoch=ask.epoch, text=word + " "))
        if tool:
            name, arguments = tool
            self.post(
                ModelToolCall(
                    turn=ask.turn, epoch=ask.epoch, call_id=f"call_{ask.epoch}", name=name, arguments=arguments
                )
            )
        reason = "tool_calls" if tool else "stop"
        self.post(ModelFinished(turn=ask.turn, epoch=ask.epoch, reason=reason, input_tokens=420, output_tokens=24))

    def tool_settles(self, output: str, *, wait_ms: int = 90) -> None:
        """The tool that was started last succeeds."""
        run: RunTool = self.commands(RunTool)[-1]
        self.now += wait_ms
        self.post(ToolSettled(call_id=run.call_id, outcome="ok", output=output))

    def agent_speaks(self, *, wait_ms: int = 150, words: int | None = None) -> None:
        """The voice speaks what the newest epoch was given; the carrier plays it, up to so many words."""
        last: Say = self.commands(Say)[-1]
        turn, epoch = last.turn, last.epoch
        spoken = "".join(say.text for say in self.commands(Say) if say.epoch == epoch).split()
        self.now += wait_ms
        began = self.now
        for piece, word in enumerate(spoken, 1):
            self.post(AudioSent(turn=turn, epoch=epoch, piece=piece, size_bytes=WORD_MS * 8))
            timed = TimedWord(word, (piece - 1) * WORD_MS, piece * WORD_MS - 20)
            self.post(WordsTimed(turn=turn, epoch=epoch, words=(timed,)))
        if any(end.epoch == epoch for end in self.commands(EndSay)):
            self.post(VoiceFinished(turn=turn, epoch=epoch))
        for piece in range(1, (len(spoken) if words is None else min(words, len(spoken))) + 1):
            self.now = began + piece * WORD_MS
            self.post(MarkReturned(turn=turn, epoch=epoch, piece=piece))

    def barge_in(self, text: str) -> None:
        """The caller speaks over the agent, which is cleared, and goes on."""
        self.now += 140
        self.caller_says(text)
        assert self.commands(Clear), "nothing was cleared: the agent was not speaking"

    def hang_up(self) -> None:
        """The carrier's stream ends."""
        self.now += 300
        self.post(CarrierGone(how="stop"))

    @property
    def hung_up_by_us(self) -> bool:
        """Whether the core asked the carrier to end the call."""
        return bool(self.commands(HangUp))


def booked_table(call_sid: str = "CA" + "0" * 32, wall_ms: int = 1_795_000_000_000) -> Conversation:
    """Four answers, one barge-in, one booking, a goodbye."""
    talk = Conversation(call_sid=call_sid, wall_ms=wall_ms)
    talk.begin()
    talk.agent_speaks(wait_ms=180)
    talk.now += 600
    talk.caller_says("Hi, I would like to book a table for Saturday.")
    talk.model_says("Gladly! We are open from noon to ten in the evening, and the terrace is open too. At what time?")
    talk.agent_speaks(words=9)
    talk.barge_in("At seven, for four people.")
    talk.model_says("Seven o'clock, four people. What name shall I put it under?", wait_ms=980)
    talk.agent_speaks()
    talk.now += 400
    talk.caller_says("Maria Jensen.")
    arguments = '{"name":"Maria Jensen","party_size":4,"date":"2026-11-28","time":"19:00"}'
    talk.model_says("", tool=("book_table", arguments))
    talk.tool_settles('{"status":"booked","reference":"K7M2P"}')
    talk.model_says("Done, Maria: Saturday at seven for four. Anything else?")
    talk.agent_speaks()
    talk.now += 500
    talk.caller_says("No thank you, goodbye!")
    talk.model_says("Goodbye, Maria, see you on Saturday!", tool=("end_call", "{}"))
    talk.agent_speaks()
    talk.hang_up()
    return talk
