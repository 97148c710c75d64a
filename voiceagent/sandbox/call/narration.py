"""A call's event log as a conversation that can be read: what was understood, said, cut off and looked up."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: How much of what was recalled is printed.
_MOST_RECALLED = 2


@dataclass(frozen=True, slots=True)
class Note:
    """``kind`` is ``understood``, ``agent``, ``cut off``, ``recalled``, ``function``, ``result`` or ``warning``.

    ``at_ms``: when it was on the call's timeline, where it is told later.
    """

    kind: str
    text: str
    at_ms: float | None = None


@dataclass(slots=True)
class _Attempt:
    """One attempt at speaking (an epoch of the server's log). Told once: when it is complete and can be heard."""

    text: str = ""
    recalled: str = ""
    complete: bool = False
    audible: bool = False
    told: bool = False


class Narration:
    """Takes the entries in their order, gives notes in the order in which the caller lives through them.

    A reply that is begun on a guess, before the caller's turn is certain, is told when its audio is let through, and
    never if it is dropped. What an interruption left of a reply comes before the words that interrupted it.
    """

    def __init__(self) -> None:
        self._attempts: defaultdict[int, _Attempt] = defaultdict(_Attempt)
        self._understood: Note | None = None
        self._step = ""

    def read(self, entry: dict[str, str]) -> Iterator[Note]:
        """What an entry of the log adds."""
        # The words that end a turn and the close of the turn that they interrupted are one step, in this order.
        if entry.get("step") != self._step:
            yield from self.rest()
            self._step = entry.get("step", "")
        if (tell := _TELLERS.get(entry.get("type", ""))) is not None:
            yield from tell(self, json.loads(entry.get("data") or "{}"))

    def rest(self) -> Iterator[Note]:
        """What was held back to come in order: to be asked for when no entry is waiting."""
        if self._understood is not None:
            yield self._understood
            self._understood = None

    def end(self) -> Iterator[Note]:
        """The call is over: what was being said."""
        yield from self.rest()
        for attempt in self._attempts.values():
            attempt.complete = True
            yield from _told(attempt)

    def _say(self, data: dict[str, Any]) -> Iterator[Note]:
        self._attempts[data["epoch"]].text += data["text"]
        yield from ()

    def _recalled(self, data: dict[str, Any]) -> Iterator[Note]:
        self._attempts[data["epoch"]].recalled = _shown(data)
        yield from ()

    def _phrase(self, data: dict[str, Any]) -> Iterator[Note]:
        attempt = self._attempts[data["epoch"]]
        attempt.text, attempt.complete = f"(recorded phrase: {data['phrase']})", True
        yield from _told(attempt)

    def _complete(self, data: dict[str, Any]) -> Iterator[Note]:
        attempt = self._attempts[data["epoch"]]
        attempt.complete = True
        yield from _told(attempt)

    def _audible(self, data: dict[str, Any]) -> Iterator[Note]:
        attempt = self._attempts[data["epoch"]]
        attempt.audible = True
        yield from _told(attempt)

    def _turn_ended(self, data: dict[str, Any]) -> Iterator[Note]:
        self._understood = Note("understood", data["text"])
        yield from ()

    def _turn_closed(self, data: dict[str, Any]) -> Iterator[Note]:
        if data["outcome"] == "interrupted" and data["heard_text"] != data["generated_text"]:
            yield Note("cut off", data["heard_text"])


def _shown(data: dict[str, Any]) -> str:
    """What of the caller's memory the model was shown for a reply, and where it comes from. Nothing is no news."""
    shown = [item for item in data["items"] if item["in_prompt"]]
    how = "" if data["outcome"] == "full" else f" ({data['outcome']})"
    if not shown:
        return "" if data["outcome"] in ("full", "empty") else f"nothing{how}"
    listed = "; ".join(f"“{item['text']}”{_origin(item)}" for item in shown[:_MOST_RECALLED])
    more = f" and {len(shown) - _MOST_RECALLED} more" if len(shown) > _MOST_RECALLED else ""
    return f"in {data['took_ms']} ms{how}: {listed}{more}"


def _origin(item: dict[str, Any]) -> str:
    """The call and the second in which it was said."""
    if not item["conversation"]:
        return ""
    second = f" at {item['audio_ms'] / 1000:.1f} s" if item["audio_ms"] >= 0 else ""
    return f" from {item['conversation'][:8]}…{second}"


def _told(attempt: _Attempt) -> Iterator[Note]:
    text = attempt.text.strip()
    if attempt.complete and attempt.audible and text and not attempt.told:
        attempt.told = True
        if attempt.recalled:
            yield Note("recalled", attempt.recalled)
        yield Note("agent", text)


_TELLERS: dict[str, Callable[[Narration, dict[str, Any]], Iterator[Note]]] = {
    "Say": Narration._say,
    "PlayPhrase": Narration._phrase,
    "EndSay": Narration._complete,
    "CancelVoice": Narration._complete,
    "AudioSent": Narration._audible,
    "TurnEnded": Narration._turn_ended,
    "TurnClosed": Narration._turn_closed,
    "MemoryRecalled": Narration._recalled,
    "RunTool": lambda _, data: iter([Note("function", f"{data['name']} {data['arguments']}")]),
    "ToolSettled": lambda _, data: iter([Note("result", f"{data['outcome']} {data['output']}")]),
}
