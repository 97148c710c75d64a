"""Models: which exist, what each admits, and until when."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

_MODERN = ("none", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Model:
    """What the service knows of one model. ``efforts`` empty: no reasoning, hence no effort and no verbosity."""

    name: str
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    # Chat completions take functions only without reasoning.
    functions_need_none: bool = False
    shutdown_date: str | None = None


_MODELS = (
    Model("gpt-6-luna", _MODERN, "medium", True),
    Model("gpt-5.6-luna", _MODERN, "medium", True),
    Model("gpt-5.4-mini", _MODERN[:-1], "none", True),
    Model("gpt-5.4-nano", _MODERN[:-1], "none", True, "2027-04-01"),
    Model("gpt-5.1", _MODERN[:-2], "none", True, "2027-04-01"),
    Model("gpt-5", ("minimal", "low", "medium", "high"), "medium", False, "2026-12-11"),
    Model("gpt-5-mini", ("minimal", "low", "medium", "high"), "medium", False, "2026-12-11"),
    Model("gpt-5-nano", ("minimal", "low", "medium", "high"), "medium", False, "2026-12-11"),
    Model("gpt-4.1", shutdown_date="2027-01-14"),
    Model("gpt-4.1-mini", shutdown_date="2027-01-14"),
    Model("gpt-4o", shutdown_date="2027-01-14"),
    Model("gpt-4o-mini", shutdown_date="2027-01-14"),
)
MODELS = {model.name: model for model in _MODELS}
EMBEDDING_SIZES = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}


def find(name: str) -> Model | None:
    """The model of that name or dated snapshot (``gpt-4o-2024-08-06``)."""
    if name in MODELS:
        return MODELS[name]
    for model in _MODELS:
        if fnmatch.fnmatch(name, model.name + "-20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]"):
            return model
    return None
