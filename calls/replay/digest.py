"""A short digest of a state, the same in every process, with every hash seed, and in later releases.

The record has the events and commands of every step; digests of states among them show a state that differs before a
command does. A digest is over JSON of the state's values by a *layout*: the fields that each class in a state had in the
release that made the record. A replay takes the record's layout, so that a field added since changes nothing.

The agent is left out: it stands in the call's first event and never changes. The history changes only when a turn closes;
its digest is kept until then.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZE_BYTES = 8
_LEFT_OUT = "agent"
_APART = "history"

#: Class name -> its fields in order.
Layout = dict[str, list[str]]


class LayoutError(ValueError):
    """A layout that this release's states do not fit; the message says where."""


@cache
def layout_of(state_class: type) -> Layout:
    """The layout of this class of states; always the same one, not to be changed."""
    found: Layout = {}
    _collect(state_class, found)
    return found


def _collect(kind: Any, found: Layout) -> None:
    if not is_dataclass(kind):
        for part in get_args(kind):
            _collect(part, found)
    elif kind.__name__ not in found:  # type: ignore[union-attr]  # a class, as it comes from type hints
        names = found[kind.__name__] = [field.name for field in fields(kind) if field.name != _LEFT_OUT]  # type: ignore[union-attr]
        hints = get_type_hints(kind)
        for name in names:
            _collect(hints[name], found)


class StateDigest:
    """Makes the digests of one call's states, in order.

    ``encode`` gives the JSON of values that have this very layout, or raises ``TypeError``; a faster library for where
    a call waits. Raises ``LayoutError`` for a layout with a field that this class of states does not have.
    """

    def __init__(
        self, state_class: type, layout: Mapping[str, Sequence[str]], encode: Callable[[Any], bytes] | None = None
    ) -> None:
        known = layout_of(state_class)
        gone = [f"{name}.{f}" for name, names in layout.items() for f in names if f not in known.get(name, ())]
        if gone or state_class.__name__ not in layout:
            raise LayoutError(f"states have no {(gone or [state_class.__name__])[0]}")
        self._layout = layout
        self._encode = encode or self._json
        names = [name for name in layout[state_class.__name__] if name != _APART]
        self._values = attrgetter(*names)
        self._history: Any = None
        self._history_digest = b""

    def of(self, state: Any) -> str:
        """The digest, in hexadecimal. Raises ``LayoutError`` for a value of a class that the layout does not have."""
        history = getattr(state, _APART)
        if history is not self._history or not self._history_digest:
            self._history, self._history_digest = history, blake2b(self._bytes(history)).digest()
        return blake2b(self._history_digest + self._bytes(self._values(state)), digest_size=SIZE_BYTES).hexdigest()

    def _bytes(self, value: Any) -> bytes:
        try:
            return self._encode(value)
        except TypeError:
            return self._json(value)

    def _json(self, value: Any) -> bytes:
        text = json.dumps(self._plain(value), separators=(",", ":"), ensure_ascii=False)
        return text.encode(errors="surrogatepass")

    def _plain(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return [self._plain(item) for item in value]
        if not is_dataclass(value):
            return value
        name = type(value).__name__
        if name not in self._layout:
            raise LayoutError(f"the layout has no {name}")
        return {field: self._plain(getattr(value, field)) for field in self._layout[name]}
