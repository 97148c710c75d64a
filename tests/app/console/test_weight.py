"""What a page's own scripts weigh at first view: every page of the console, taken from the routes, so that none is forgotten."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.urls import reverse

from memory.people import ensure
from tests.app.console.test_matrix import FORGED, VIEWS, kind_of
from tests.app.records import conftest as records
from tests.app.records.conversation import Conversation, booked_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client
    from django.urls import URLPattern

    from calls.models import AgentVersion, Call

client_redis, recordings, version = records.client_redis, records.recordings, records.version  # fixtures
log_call, archived = records.log_call, records.archived

pytestmark = [
    pytest.mark.django_db(transaction=True),  # some pages read in threads of their own
    pytest.mark.usefixtures("redis_url"),
    # The test client is no ASGI server: it takes the pieces of a file one after the other.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning"),
]

#: The brief's limit for a page, compressed.
MOST_BYTES = 150_000
SCRIPT = re.compile(r'<script\b[^>]*\bsrc="([^"]+)"')
PRELOADED = re.compile(r'<link rel="modulepreload" href="([^"]+)"')
#: What a module needs before it runs. A line of a comment begins otherwise; what is imported later is a call.
IMPORT = re.compile(r"""(?:^|[;}])\s*(?:import|export)\b(?:[\w\s{},*$]*?\bfrom)?\s*["']([^"']+)["']""", re.MULTILINE)


def imported(place: str, seen: dict[str, int]) -> None:
    """Weigh the script at this address and all that it imports."""
    if place in seen:
        return
    assert place.startswith(settings.STATIC_URL), f"{place} is not ours to serve"
    found = finders.find(place.removeprefix(settings.STATIC_URL))
    assert found, f"{place} is not there"
    source = Path(found).read_bytes()
    seen[place] = len(gzip.compress(source))
    for name in IMPORT.findall(source.decode()):
        assert name.startswith((".", "/")), f"{place} imports {name}, which no browser finds"
        imported(urljoin(place, name), seen)


def pages(client: Client, ids: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of every whole page that an address of the console answers with."""
    for view in VIEWS:
        answer = client.get(address(view, ids))
        if answer.status_code == 200 and not answer.streaming and answer.content.startswith(b"<!doctype html>"):
            yield str(view.name), answer.text


def address(view: URLPattern, ids: dict[str, Any]) -> str:
    converters = view.pattern.converters
    return reverse(
        f"console:{view.name}", kwargs={name: ids.get(name, FORGED[kind_of(converters[name])]) for name in converters}
    )


def test_imports_are_found_however_they_are_written() -> None:
    source = """import "./a.js";
 * import { no } from "./comment.js";
import {
  one, two as three,
} from './b.js';
let x=1;import d,{e as f}from"./c.js";export*from"./d.js";
export { g } from "./e.js";
const later = await import("./later.js"); const text = 'import "./text.js"';
"""
    assert IMPORT.findall(source) == ["./a.js", "./b.js", "./c.js", "./d.js", "./e.js"]


def test_no_page_s_own_scripts_weigh_more_than_the_brief_allows(
    as_role: Callable[[str], Client], archived: Callable[[Conversation], Call], version: AgentVersion
) -> None:
    call, person = archived(booked_table()), ensure("+15550100001")
    weights: dict[str, dict[str, int]] = {}
    preloaded: dict[str, set[str]] = {}
    entries: dict[str, set[str]] = {}
    ids = {"call_sid": call.call_sid, "pk": version.agent_id, "caller_id": person.id}
    for name, text in pages(as_role("admin"), ids):
        weights[name] = {}
        preloaded[name], entries[name] = set(PRELOADED.findall(text)), set(SCRIPT.findall(text))
        for place in entries[name]:
            imported(place, weights[name])
    assert weights.keys() >= {
        "board", "calls", "call", "travel", "callers", "caller", "probe", "caller_erase", "agents", "agent", "agent-new",
        "agent-versions", "health", "dependencies", "phone", "trail",
    }  # fmt: skip
    assert all(weights.values())
    assert any("tinykeys" in place for place in weights["call"])
    assert {name: vain for name, places in preloaded.items() if (vain := places - weights[name].keys())} == {}
    # The page that is to be there soonest waits for no script to be read before it asks for another.
    assert preloaded["call"] == weights["call"].keys() - entries["call"]
    assert {name: sum(sizes.values()) for name, sizes in weights.items() if sum(sizes.values()) > MOST_BYTES} == {}
