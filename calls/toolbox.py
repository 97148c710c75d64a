"""The functions an agent can be given, by name: what records need of the registry in ``calls.tools``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calls.tools import SPECS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calls.core.policy import ToolSpec


def available() -> Mapping[str, ToolSpec]:
    """Every known tool by its name."""
    return SPECS


def specs(names: Any) -> tuple[ToolSpec, ...]:
    """The specifications of these tools, in order, each once. Raises ``ValueError`` naming the unknown one."""
    if not isinstance(names, list):
        raise ValueError("tools must be a list of names")
    known = available()
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"there is no tool {name!r}; known are {', '.join(sorted(known))}")
    return tuple(known[name] for name in dict.fromkeys(names))
