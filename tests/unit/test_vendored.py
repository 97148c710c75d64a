"""Libraries of pages are kept as they were published: what lies there is what the manifest says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = json.loads((ROOT / "static/vendor/manifest.json").read_text())
ICON = re.compile(r"""\{% icon ["']([\w-]+)["']|\bicon\(["']([\w-]+)["']|icons\.svg#([\w-]+)""")


@pytest.mark.parametrize("library", MANIFEST, ids=lambda library: library["name"])
def test_every_file_is_the_one_that_was_published(library: dict[str, object]) -> None:
    folder = ROOT / str(library["folder"])
    there = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert there == library["files"]
    assert "LICENSE" in there
    assert library["licence"] in {"0BSD", "BSD-3-Clause", "MIT", "ISC", "MPL-2.0"}
    assert folder.name.endswith(str(library["version"]))
    assert str(library["package"]).endswith(f"@{library['version']}")


def test_nothing_lies_there_that_the_manifest_does_not_name() -> None:
    named = {ROOT / library["folder"] for library in MANIFEST}
    for shelf in ("static/vendor", "tests/browser/vendor"):
        assert {path for path in (ROOT / shelf).iterdir() if path.is_dir()} <= named


def test_every_module_is_imported_by_a_page() -> None:
    ours = "".join(path.read_text() for path in (ROOT / "static/console").rglob("*.js"))
    modules = [path for path in (ROOT / "static/vendor").rglob("*") if path.suffix in {".js", ".mjs"}]
    assert [path.name for path in modules if f"vendor/{path.relative_to(ROOT / 'static/vendor')}" not in ours] == []


def test_every_icon_in_use_is_in_the_sprite() -> None:
    sprite = (ROOT / "static/vendor/lucide-1.62.0/icons.svg").read_text()
    has = set(re.findall(r'<symbol id="([\w-]+)"', sprite))
    used = {
        name
        for pattern in ("templates/**/*.html", "static/console/**/*.js")
        for path in ROOT.glob(pattern)
        for found in ICON.findall(path.read_text())
        for name in found
        if name
    }
    assert used <= has
