"""Which tests cover the pure packages by themselves. As a plugin (``-p tests.unit.pure``) it leaves out all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

PACKAGES = ("core", "codecs", "replay")
FOLDERS = tuple(f"tests/unit/{name}/" for name in PACKAGES)


def covers(item: pytest.Item) -> bool:
    """Not those that try very many calls: what only chance comes upon has no test that says what should happen there."""
    return (
        item.nodeid.startswith(FOLDERS)
        and "actor" not in item.name
        and not any(item.get_closest_marker(name) for name in ("long", "search"))
    )


def keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    """Deselect the others."""
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep(config, items, covers)
