"""What each language model admits: one table, checked against the vendor's pages in autumn 2026.

A request with a parameter that a model does not know is refused, so what is sent follows this table. A model that
is not in it is taken for one of another server that speaks the same protocol, and gets only what all of them know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """One model's ways.

    ``efforts``: values of the reasoning effort it takes, none if it has no such parameter; ``effort``: the one we
    send, the quickest. ``chat_functions``: whether function calling works on Chat Completions with that effort.
    ``vendor_parameters``: whether the vendor's own parameters (storage, caching, obfuscation) are known to it.
    """

    efforts: tuple[str, ...] = ()
    effort: str = ""
    verbosity: bool = False
    role: str = "system"
    chat_functions: bool = True
    shutdown_at: date | None = None
    vendor_parameters: bool = True
    length_parameter: str = "max_completion_tokens"

    def __post_init__(self) -> None:
        if self.effort and self.effort not in self.efforts:
            raise ValueError(f"effort {self.effort!r} is not one of {self.efforts}")


_LEVELS: Final = ("low", "medium", "high")
_GPT4: Final = ModelTraits()
_O_SERIES: Final = ModelTraits(efforts=_LEVELS, effort="low", role="developer")
_GPT5_0: Final = ModelTraits(efforts=("minimal", *_LEVELS), effort="minimal", verbosity=True, role="developer")
_GPT5_1: Final = ModelTraits(efforts=("none", *_LEVELS), effort="none", verbosity=True, role="developer")
_GPT5_4: Final = replace(_GPT5_1, efforts=("none", *_LEVELS, "xhigh"))
_GPT6: Final = replace(_GPT5_1, efforts=("none", *_LEVELS, "xhigh", "max"))
#: Models without the effort ``none`` have no functions on Chat Completions.
_ALWAYS_THINKING: Final = replace(_GPT6, efforts=(*_LEVELS, "xhigh", "max"), effort="low", chat_functions=False)

#: For servers that are not the vendor's own.
GENERIC: Final = ModelTraits(vendor_parameters=False, length_parameter="max_tokens")

MODELS: Final[dict[str, ModelTraits]] = {
    "gpt-6-luna": _GPT6,
    "gpt-6-sol": _GPT6,
    "gpt-6-astra": _ALWAYS_THINKING,
    "gpt-6.1-sol": _ALWAYS_THINKING,
    "gpt-5.6-luna": _GPT6,
    "gpt-5.6-terra": _GPT6,
    "gpt-5.6-sol": _GPT6,
    "gpt-5.5": _GPT5_4,
    "gpt-5.4": _GPT5_4,
    "gpt-5.4-mini": _GPT5_4,
    "gpt-5.4-nano": replace(_GPT5_4, shutdown_at=date(2027, 4, 1)),
    "gpt-5.2": _GPT5_4,
    "gpt-5.1": replace(_GPT5_1, shutdown_at=date(2027, 4, 1)),
    "gpt-5": replace(_GPT5_0, shutdown_at=date(2026, 12, 11)),
    "gpt-5-mini": replace(_GPT5_0, shutdown_at=date(2026, 12, 11)),
    "gpt-5-nano": replace(_GPT5_0, shutdown_at=date(2026, 12, 11)),
    "gpt-4.1": replace(_GPT4, shutdown_at=date(2027, 1, 14)),
    "gpt-4.1-mini": replace(_GPT4, shutdown_at=date(2027, 1, 14)),
    "gpt-4.1-nano": replace(_GPT4, shutdown_at=date(2026, 10, 23)),
    "gpt-4o": replace(_GPT4, shutdown_at=date(2027, 1, 14)),
    "gpt-4o-mini": replace(_GPT4, shutdown_at=date(2027, 1, 14)),
    "gpt-4-turbo": replace(_GPT4, shutdown_at=date(2026, 10, 23)),
    "gpt-3.5-turbo": replace(_GPT4, shutdown_at=date(2026, 10, 23)),
    "o3": replace(_O_SERIES, shutdown_at=date(2026, 12, 11)),
    "o4-mini": replace(_O_SERIES, shutdown_at=date(2026, 10, 23)),
}

_SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_SUCCESSOR: Final = "gpt-6-luna"


def traits_of(model: str) -> ModelTraits:
    """The model's row; a dated snapshot has the row of its model, an unknown one is ``GENERIC``."""
    return MODELS.get(_SNAPSHOT.sub("", model), GENERIC)


def shutdown_warning(model: str, today: date) -> str | None:
    """A sentence for the operator if the vendor has announced the model's end, None otherwise."""
    ends = traits_of(model).shutdown_at
    if ends is None:
        return None
    days = (ends - today).days
    if days < 0:
        return f"The model {model} was shut down on {ends.isoformat()}: set another, for example {_SUCCESSOR}."
    return f"The model {model} will be shut down on {ends.isoformat()}, in {days} days: plan to use {_SUCCESSOR}."
