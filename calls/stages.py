"""What a turn is made of, noted from the bus while it runs: recall, requests to the model, functions, voice, playback, barge-in.

A few numbers for each, on the call's clock, so that a step costs next to nothing; ``calls.calltrace`` makes spans of them
when the turn closes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from calls.core import commands as c
from calls.core import events as e

if TYPE_CHECKING:
    from calls.bus import Bus, StepTaken

#: Stages of one turn at most: what is beyond that is counted.
MOST_STAGES = 200


@dataclass(slots=True, eq=False)
class Stage:
    """One of them. ``until_ms`` and ``first_ms`` (first token, first sound) are -1 where that did not happen (yet)."""

    name: str
    from_ms: int
    what: str = ""
    until_ms: int = -1
    first_ms: int = -1
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it has no end yet."""
        return self.until_ms < 0

    def end(self, at_ms: int, error: str = "", **facts: Any) -> None:
        """It ended, with these facts, if it had not before."""
        if self.is_open:
            self.until_ms, self.error = at_ms, error
            self.facts |= facts


@dataclass(slots=True)
class TurnStages:
    """The stages of one turn, in order; requests and voices by epoch as well."""

    stages: list[Stage] = field(default_factory=list)
    recalls: dict[int, Stage] = field(default_factory=dict)
    chats: dict[int, Stage] = field(default_factory=dict)
    voices: dict[int, Stage] = field(default_factory=dict)
    playback: Stage | None = None
    left_out: int = 0

    def add(self, stage: Stage) -> Stage:
        """Note a stage, unless there are too many."""
        if len(self.stages) < MOST_STAGES:
            self.stages.append(stage)
        else:
            self.left_out += 1
        return stage

    def waits(self, closed: c.TurnClosed) -> dict[str, int]:
        """What an answer waited for, from the caller's last sound to its first: the parts of its latency in ms, as
        ``calls.timeline_turns.Waits`` has them. Empty where there is no latency."""
        ended, sounded = closed.speech_ended_ms, closed.first_audio_ms
        if closed.kind != "answer" or ended < 0 or sounded < ended or closed.committed_ms < 0:
            return {}
        said = [stage.from_ms for _, stage in sorted(self.voices.items()) if stage.from_ms <= sounded]
        sure = min(max(closed.committed_ms, ended), sounded)
        text = max(sure, said[-1]) if said else sure
        return {"endpointing": sure - ended, "model": text - sure, "voice": sounded - text}

    def waited_ms(self, closed: c.TurnClosed) -> int:
        """How long the caller waited for an answer: its latency, or since the turn's end where no last sound is known; 0
        for what is no answer."""
        if waits := self.waits(closed):
            return sum(waits.values())
        if closed.kind != "answer" or closed.committed_ms < 0:
            return 0
        sounded_ms = closed.first_audio_ms if closed.first_audio_ms >= 0 else closed.closed_ms
        return max(0, sounded_ms - closed.committed_ms)


class Failed(Protocol):
    """Told of everything that failed: why, in a stable word, and when."""

    def __call__(self, why: str, at_ms: int, **facts: str) -> None: ...


class StageNotes:
    """Subscribes to one call's bus. ``with_words``: what was asked and answered is noted too."""

    def __init__(self, bus: Bus, failed: Failed, with_words: bool) -> None:
        self._failed, self._with_words = failed, with_words
        self._turns: dict[int, TurnStages] = {}
        self.tools: dict[str, Stage] = {}
        self._voiced_ms: list[int] = []
        self._ended_ms = -1
        self._sounding = 0
        heard: dict[type, Any] = {
            e.SpeechStarted: lambda event, _: self._voiced_ms.append(event.voiced_at_ms),
            c.Recall: self._recall,
            e.MemoryRecalled: self._recalled,
            c.AskModel: self._ask,
            e.ModelText: self._first_token,
            e.ModelToolCall: self._first_token,
            e.ModelFinished: self._finished,
            e.ModelAttemptFailed: self._attempt_failed,
            e.ModelFailed: self._model_failed,
            c.CancelModel: self._model_cancelled,
            c.RunTool: self._tool,
            e.ToolSettled: self._tool_settled,
            c.Say: self._say,
            c.PlayPhrase: self._phrase,
            e.AudioSent: self._sent,
            e.MarkReturned: self._played,
            e.VoiceFinished: self._voice_ended,
            e.VoiceFailed: self._voice_failed,
            c.CancelVoice: self._voice_cancelled,
            c.Clear: self._cleared,
            e.EarFailed: lambda event, _: failed(f"ear_{event.kind}", event.at_ms),
            e.ErrorRaised: lambda event, _: failed("internal", event.at_ms, where=event.where, error=event.error),
        }
        for cls, subscriber in heard.items():
            bus.subscribe(cls, subscriber)

    def newest(self) -> tuple[int, TurnStages] | None:
        """The newest turn of which something is noted, with its number; it stays here."""
        number = max(self._turns, default=None)
        return None if number is None else (number, self._turns[number])

    def take(self, number: int) -> TurnStages:
        """The stages of this turn, which is closed; nothing more is noted of it."""
        return self._turns.pop(number, None) or TurnStages()

    def take_all(self) -> list[TurnStages]:
        """What is left of turns that nobody closed: guesses, mostly."""
        left = list(self._turns.values())
        self._turns.clear()
        return left

    def began_ms(self, closed: c.TurnClosed) -> int:
        """First sound of the caller's words in this turn; -1 where they said none."""
        ended_ms, before_ms = closed.speech_ended_ms, self._ended_ms
        if ended_ms < 0:
            return -1
        self._ended_ms = ended_ms
        voiced = [at_ms for at_ms in self._voiced_ms if before_ms < at_ms <= ended_ms]
        self._voiced_ms = [at_ms for at_ms in self._voiced_ms if at_ms > ended_ms]
        return voiced[0] if voiced else ended_ms

    def _of(self, number: int) -> TurnStages:
        turn = self._turns.get(number)
        if turn is None:
            turn = self._turns[number] = TurnStages()
        return turn

    # --- memory and model

    def _recall(self, recall: c.Recall, step: StepTaken) -> None:
        turn = self._of(recall.turn)
        turn.recalls[recall.epoch] = turn.add(Stage("recall", step.event.at_ms))

    def _recalled(self, event: e.MemoryRecalled, _: StepTaken) -> None:
        turn = self._turns.get(event.turn)
        if turn is not None and (stage := turn.recalls.get(event.epoch)) is not None:
            shown = sum(item.in_prompt for item in event.items)
            stage.end(
                event.at_ms, outcome=event.outcome, took_ms=event.took_ms, items=len(event.items), in_prompt=shown
            )

    def _ask(self, ask: c.AskModel, step: StepTaken) -> None:
        at_ms, turn = step.event.at_ms, self._of(ask.turn)
        for before in (turn.recalls.get(ask.epoch), turn.chats.get(ask.epoch)):
            if before is not None:
                before.end(at_ms, outcome="late")
        asked = sum(stage.name == "chat" for stage in turn.stages)
        stage = Stage("chat", at_ms, facts={"attempt": asked + 1, "speculative": ask.speculative})
        if self._with_words:
            stage.facts["messages"] = [(message.role, message.text) for message in ask.messages]
        turn.chats[ask.epoch] = turn.add(stage)

    def _chat(
        self, event: e.ModelText | e.ModelToolCall | e.ModelFinished | e.ModelAttemptFailed | e.ModelFailed
    ) -> Stage | None:
        turn = self._turns.get(event.turn)
        return turn.chats.get(event.epoch) if turn is not None else None

    def _first_token(self, event: e.ModelText | e.ModelToolCall, _: StepTaken) -> None:
        stage = self._chat(event)
        if stage is not None and stage.first_ms < 0:
            stage.first_ms = event.at_ms

    def _finished(self, event: e.ModelFinished, _: StepTaken) -> None:
        if (stage := self._chat(event)) is not None:
            tokens = {"input": event.input_tokens, "output": event.output_tokens, "cached": event.cached_tokens}
            stage.end(event.at_ms, reason=event.reason, tokens=tokens, model=event.model)

    def _attempt_failed(self, event: e.ModelAttemptFailed, _: StepTaken) -> None:
        self._failed(f"model_{event.kind}", event.at_ms, endpoint=event.endpoint)
        if (stage := self._chat(event)) is not None:
            stage.facts["attempts_failed"] = (*stage.facts.get("attempts_failed", ()), event.kind)

    def _model_failed(self, event: e.ModelFailed, _: StepTaken) -> None:
        self._failed(f"model_{event.kind}", event.at_ms, endpoint=event.endpoint)
        if (stage := self._chat(event)) is not None:
            stage.end(event.at_ms, event.kind)

    def _model_cancelled(self, command: c.CancelModel, step: StepTaken) -> None:
        turn = self._turns.get(command.turn)
        for stages in (turn.chats, turn.recalls) if turn is not None else ():
            if (stage := stages.get(command.epoch)) is not None:
                stage.end(step.event.at_ms, cancelled=True)

    # --- functions

    def _tool(self, command: c.RunTool, step: StepTaken) -> None:
        stage = Stage("execute_tool", step.event.at_ms, command.name, facts={"call_id": command.call_id})
        if self._with_words:
            stage.facts["arguments"] = command.arguments
        self.tools[command.call_id] = self._of(command.turn).add(stage)

    def _tool_settled(self, event: e.ToolSettled, _: StepTaken) -> None:
        if (stage := self.tools.pop(event.call_id, None)) is not None:
            said = {"result": event.output} if self._with_words else {}
            failed = event.outcome if event.outcome in ("error", "timeout") else ""
            stage.end(event.at_ms, failed, outcome=event.outcome, **said)

    # --- voice and playback

    def _say(self, command: c.Say, step: StepTaken) -> None:
        turn = self._of(command.turn)
        if command.epoch not in turn.voices:
            turn.voices[command.epoch] = turn.add(Stage("voice", step.event.at_ms))

    def _phrase(self, command: c.PlayPhrase, step: StepTaken) -> None:
        turn = self._of(command.turn)
        stage = turn.add(Stage("phrase", step.event.at_ms, facts={"key": command.phrase}))
        turn.voices.setdefault(command.epoch, stage)

    def _sent(self, event: e.AudioSent, _: StepTaken) -> None:
        self._sounding = event.turn
        turn = self._of(event.turn)
        voice = turn.voices.get(event.epoch)
        if voice is not None and voice.first_ms < 0:
            voice.first_ms = event.at_ms
        if turn.playback is None:
            turn.playback = turn.add(Stage("playback", event.at_ms))

    def _played(self, event: e.MarkReturned, _: StepTaken) -> None:
        turn = self._turns.get(event.turn)
        if turn is not None and turn.playback is not None:
            turn.playback.until_ms = event.at_ms

    def _voice(self, of: e.VoiceFinished | e.VoiceFailed | c.CancelVoice) -> Stage | None:
        turn = self._turns.get(of.turn)
        return turn.voices.get(of.epoch) if turn is not None else None

    def _voice_ended(self, event: e.VoiceFinished, _: StepTaken) -> None:
        if (stage := self._voice(event)) is not None:
            stage.end(event.at_ms)

    def _voice_failed(self, event: e.VoiceFailed, _: StepTaken) -> None:
        self._failed(f"voice_{event.kind}", event.at_ms)
        if (stage := self._voice(event)) is not None:
            stage.end(event.at_ms, event.kind)

    def _voice_cancelled(self, command: c.CancelVoice, step: StepTaken) -> None:
        if (stage := self._voice(command)) is not None:
            stage.end(step.event.at_ms, cancelled=True)

    def _cleared(self, _clear: c.Clear, step: StepTaken) -> None:
        event, turn = step.event, self._turns.get(self._sounding)
        if turn is None or not isinstance(event, e.SpeechStarted | e.TurnOpened | e.WordsHeard | e.DtmfPressed):
            return
        began_ms = event.voiced_at_ms if isinstance(event, e.SpeechStarted) else event.at_ms
        turn.add(
            Stage("barge_in", min(began_ms, event.at_ms), until_ms=event.at_ms, facts={"by": type(event).__name__})
        )
