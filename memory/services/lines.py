"""Lines of JSON that carry a memory in and out: what was said, facts, and a caller's settings.

A line is an object with ``caller`` (a number) and ``kind``. ``utterance`` has ``conversation``, ``role``, ``text`` and
``said_at``; every other kind but ``caller`` is a fact, with ``text`` or ``slot`` and ``value``. ``source`` is the
writer's own name for where it comes from. ``life`` is a fact's history as ``memory_export`` writes it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from memory.core.values import Kind, Status
from memory.models import MemoryEvent
from memory.models.caller import LABEL_LENGTH, NAME_LENGTH
from memory.services.checking import Bad, checked_text, told

#: Longest utterance, in characters: more than anybody says in one turn, and as much as the search looks at.
MOST_SPOKEN_CHARS = 20_000
MOST_FACT_CHARS = 2_000
MOST_LINE_BYTES = 1_000_000

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ROLES = {"user": "user", "caller": "user", "assistant": "assistant", "agent": "assistant"}


def _text(most_chars: int, *, required: bool = True) -> Any:
    def check(text: str) -> str:
        return checked_text(text, "it", most_chars) if text or required else ""

    return AfterValidator(check)


def _written(moment: object) -> object:
    """A number would be taken for seconds since 1970, and so would digits in quotes."""
    if isinstance(moment, str) and not _DAY.match(moment):
        raise ValueError("is no date and time such as 2026-03-02T12:00:00Z")
    if isinstance(moment, int | float):
        raise ValueError("is a number: write a date and time such as 2026-03-02T12:00:00Z")
    return moment


def _aware(moment: datetime) -> datetime:
    """In UTC; times without a zone are UTC."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the calendar") from None


Moment = Annotated[datetime, BeforeValidator(_written), AfterValidator(_aware)]
Name = Annotated[str, _text(NAME_LENGTH)]
Label = Annotated[str, _text(LABEL_LENGTH, required=False)]
Role = Annotated[
    Literal["user", "assistant"],
    BeforeValidator(lambda role: _ROLES.get(role, role) if isinstance(role, str) else role),
]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", str_strip_whitespace=False)

    caller: Annotated[str, _text(255)]


class CallerLine(_Line):
    """A caller's settings."""

    kind: Literal["caller"]
    locale: Annotated[str, _text(16)] = "en"
    retention_days: Annotated[int, Field(ge=1, lt=2**31)] | None = None


class SpokenLine(_Line):
    """Something that was said. Without ``seq`` its place is that of the line among those of its conversation."""

    kind: Literal["utterance"]
    conversation: Name
    role: Role
    text: Annotated[str, _text(MOST_SPOKEN_CHARS)]
    said_at: Moment
    source: Label = ""
    seq: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    heard_text: Annotated[str, _text(MOST_SPOKEN_CHARS, required=False)] = ""
    audio_ms: Annotated[int, Field(ge=-1, lt=2**63)] = -1
    audio_end_ms: Annotated[int, Field(ge=-1, lt=2**63)] = -1
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    origin: Literal["call", "import"] = "import"


class Quoted(BaseModel):
    """Where a fact comes from."""

    by: Annotated[str, _text(160)]
    conversation: str = ""
    seq: int = -1
    start: Annotated[int, Field(ge=0)] = 0
    end: Annotated[int, Field(ge=0)] = 0


class Happened(BaseModel):
    """One line of a fact's history."""

    what: Literal[*MemoryEvent.What.values]  # type: ignore[valid-type]
    by: Annotated[str, _text(160)]
    at: Moment


class Life(BaseModel):
    """A fact's life as it was exported."""

    id: str
    status: Status
    importance: Annotated[float, Field(ge=0, le=1)] = 0.5
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.9
    valid_from: Moment
    valid_to: Moment | None = None
    recorded_at: Moment
    retired_at: Moment | None = None
    superseded_by: str = ""
    expires_at: Moment | None = None
    uses: Annotated[int, Field(ge=0, lt=2**31)] = 0
    extractor: Annotated[str, _text(120, required=False)] = ""
    last_used_at: Moment | None = None
    pinned_at: Moment | None = None
    forgotten_at: Moment | None = None
    sources: list[Quoted] = []
    history: list[Happened] = []


class FactLine(_Line):
    """A fact; with ``life`` one that is put back as it was, else one that is entered."""

    kind: Literal[*(kind.value for kind in Kind if kind is not Kind.UTTERANCE)]  # type: ignore[valid-type]
    text: Annotated[str, _text(MOST_FACT_CHARS, required=False)] = ""
    slot: Annotated[str, _text(80, required=False)] = ""
    value: Annotated[str, _text(MOST_FACT_CHARS, required=False)] = ""
    said_at: Moment | None = None
    source: Label = ""
    life: Life | None = None


Line = SpokenLine | FactLine | CallerLine
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


def parsed(raw: bytes | str) -> Line | None:
    """A line of a file; ``None`` for an empty one. Raises ``Bad``, which names what is wrong and never what was said."""
    if len(raw) > MOST_LINE_BYTES:
        raise Bad(f"the line has {len(raw)} bytes; at most {MOST_LINE_BYTES} can be taken")
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise Bad(f"the line is not UTF-8: byte {error.start + 1}") from None
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise Bad(f"the line is not JSON: {error.msg} at column {error.colno}") from None
    except (RecursionError, ValueError):
        raise Bad("the line is not JSON that can be read: it is nested too deeply, or a number is too long") from None
    return checked(found)


def checked(found: object) -> Line:
    """A line that was parsed already. Raises ``Bad``."""
    if not isinstance(found, dict):
        raise Bad("the line is not an object")
    if "kind" not in found and "role" in found:
        found = {**found, "kind": Kind.UTTERANCE.value}
    try:
        return _LINE.validate_python(found)
    except ValidationError as error:
        if any(one["type"].startswith("union_tag_") for one in error.errors(include_input=False)):
            facts = ", ".join(kind.value for kind in Kind if kind is not Kind.UTTERANCE)
            raise Bad(f"kind must be utterance, caller or one of {facts}") from None
        raise Bad(told(error, skip=1)) from None
