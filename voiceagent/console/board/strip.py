"""The strip of six numbers above the board, each beside its target. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from calls.latency import FEW, p50_p95
from calls.timeline_format import milliseconds
from calls.timeline_turns import OBJECTIVE_MS
from voiceagent.console.board.rows import cause_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Of few answers the latest are shown.
_LATEST: Final = 3
#: Breaker → what it stands before.
NAMES: Final[Mapping[str, str]] = {
    "database": "database",
    "redis": "Redis",
    "cartesia.stt": "speech recognition",
    "cartesia.stt_batch": "transcription of what was missed",
    "cartesia.tts": "voice",
    "openai.reply": "model",
    "openai.reply_second": "second model",
    "openai.embeddings": "embeddings",
    "openai.distil": "distilling of memories",
    "twilio.rest": "carrier",
}
#: How ill a dependency is, the worst last.
_ILLNESS: Final = ("closed", "half_open", "forced", "open", "away")
_ILL_WORDS: Final[Mapping[str, str]] = {
    "half_open": "being tried again",
    "forced": "held open by an operator",
    "open": "open",
    "away": "away",
}


def strip(
    rows: Iterable[Mapping[str, Any]],
    abouts: Sequence[Mapping[str, Any]],
    latencies: Iterable[Sequence[int]],
    errors: Iterable[Sequence[Any]],
    probes: Mapping[str, bool],
) -> dict[str, dict[str, Any]]:
    """The six, by their filter: ``value``, ``target``, ``note`` and whether it is ``off`` target.

    ``rows`` as ``rows.shown`` has them; ``abouts``, ``latencies`` and ``errors`` as processes told them.
    """
    live = [row for row in rows if not row["ended"]]
    return {
        "all": _calls(live, abouts),
        "slow": _answers([ms for _, ms in latencies]),
        "attention": _attention(live),
        "long": _longest(live),
        "errors": _errors([cause for _, cause in errors]),
        "fallback": _dependencies(abouts, probes),
    }


def _figure(value: str, target: str, note: str = "", off: bool = False, **more: Any) -> dict[str, Any]:
    return {"value": value, "target": target, "note": note, "off": "off" if off else "", **more}


def _calls(live: Sequence[Any], abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    capacity = sum(about.get("capacity", 0) for about in abouts if not about.get("draining"))
    draining = sum(bool(about.get("draining")) for about in abouts)
    note = f"{draining} of {len(abouts)} processes stopping" if draining else ""
    if not abouts:
        return _figure("0 / 0", "no process takes calls", off=True)
    return _figure(f"{len(live)} / {capacity}", "of capacity", note, len(live) >= capacity)


def _answers(latencies_ms: Sequence[int]) -> dict[str, Any]:
    target = f"objective {milliseconds(OBJECTIVE_MS)}"
    count = len(latencies_ms)
    if not count:
        return _figure("no data", target, "no answers in five minutes")
    over = f"{count} answers in five minutes" if count > 1 else "one answer in five minutes"
    if count < FEW:
        latest = " · ".join(milliseconds(ms).replace(" ", "\u00a0") for ms in latencies_ms[-_LATEST:])
        which = "" if count == 1 else f"{count} answers: " if count <= _LATEST else f"last {_LATEST}: "
        return _figure(f"{which}{latest}", target, over, latencies_ms[-1] > OBJECTIVE_MS)
    p50, p95 = p50_p95(latencies_ms)
    return _figure(f"p50 {milliseconds(p50)} · p95 {milliseconds(p95)}", target, over, p50 > OBJECTIVE_MS)


def _attention(live: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    waiting = sorted((row for row in live if row["score"]), key=lambda row: -row["score"])
    note = f"first: {waiting[0]['why']}" if waiting else ""
    return _figure(str(len(waiting)), "target: none", note, bool(waiting))


def _longest(live: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not live:
        return _figure("no call", "target: under 15 min")
    row = min(live, key=lambda row: row["zero"])
    return _figure("", "target: under 15 min", row["name"] or row["number"], "long" in row["kinds"], since=row["zero"])


def _errors(causes: Sequence[str]) -> dict[str, Any]:
    counted = Counter(map(cause_text, causes)).most_common()
    hover = "; ".join(f"{count} × {cause}" for cause, count in counted)
    note = f"mostly {counted[0][0]}" if counted else ""
    return _figure(str(len(causes)), "target: none in 15 min", note, bool(causes), hover=hover)


def _dependencies(abouts: Sequence[Mapping[str, Any]], probes: Mapping[str, bool]) -> dict[str, Any]:
    worst = {name: "closed" if is_there else "away" for name, is_there in probes.items()}
    for about in abouts:
        for name, phase in about.get("breakers", {}).items():
            worst[name] = max(worst.get(name, "closed"), phase, key=_ILLNESS.index)
    ill = sorted(
        (name for name, phase in worst.items() if phase != "closed"), key=lambda name: -_ILLNESS.index(worst[name])
    )
    note = f"{NAMES.get(ill[0], ill[0])}: {_ILL_WORDS[worst[ill[0]]]}" if ill else ""
    hover = "; ".join(f"{NAMES.get(name, name)}: {_ILL_WORDS[worst[name]]}" for name in ill)
    value = f"{len(worst) - len(ill)} of {len(worst)} healthy" if worst else "no data"
    return _figure(value, "target: all", note, bool(ill), hover=hover)
