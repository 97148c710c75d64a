"""The list of calls: each operator of its language, facets, pages, files, flags and views."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core import signing
from django.utils import timezone

from calls.models import Call, Turn
from calls.services import meanings
from tests.app.console.callcast import HOSTILE, NOON, Cast, call, cast
from tests.app.console.conftest import somebody
from voiceagent.console.calls import exports, listing, tasks
from voiceagent.console.calls.conditions import calls_of, turns_of
from voiceagent.console.calls.facets import facets
from voiceagent.console.calls.histogram import histogram
from voiceagent.console.calls.parsing import parse, to_text
from voiceagent.console.models import AuditEntry, CallFlag, ListExport, SavedView

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

pytestmark = [
    pytest.mark.django_db,
    # The test client is no ASGI server: it takes the pieces of a file one after the other.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators:Warning"),
]

LIST = "/console/calls/"


@pytest.fixture
def house(db: None) -> Cast:
    """The calls."""
    return cast()


def found(text: str, now: datetime = NOON) -> str:
    """The letters of the calls that a query finds, in order."""
    query = parse(text)
    assert query.problems == ()
    return "".join(sorted(one.call_sid[2] for one in calls_of(query, now)))


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("", "abcde"),
        ("test:yes", "t"),
        ("test:yes,no", "abcdet"),
        ("-test:yes", "abcde"),
        ("outcome:error", "b"),
        ("outcome:error,transferred", "bc"),
        ("-outcome:error", "acde"),
        ("outcome:live", "e"),
        ("outcome:missed", "d"),
        ("end:caller_hung_up", "a"),
        ("response:1500", "b"),
        ("response:>1500", "c"),
        ("response:>=1500", "bc"),
        ("response:<1.5s", "a"),
        ("response:<=1500ms", "ab"),
        ("response:800..1500", "ab"),
        ("response:..800,1501..", "ac"),
        ("-response:>1500", "abde"),
        ("duration:>3m", "c"),
        ("duration:1:00", "abe"),
        ("turns:>2", "ac"),
        ("bargein:>2", "a"),
        ("errors:>0", "b"),
        ("error:ear", "b"),
        ("error:ear:cut", "b"),
        ("error:ear:lost", ""),
        ("-error:ear", "acde"),
        ("fallback:phrase,model", "b"),
        ("recalled:2", "a"),
        ("lang:en", "ab"),
        ("lang:de,en-GB", "bc"),
        ("who:new", "ace"),
        ("who:returning", "b"),
        ("who:withheld", "d"),
        ("caller:1234", "a"),
        ("line:0006", "a"),
        ('agent:"bella vista"', "a"),
        ("version:0.1.0", "a"),
        ("id:CAc", "c"),
        ("flagged:yes", "c"),
        ("-has:flagged", "abde"),
        ("has:operator", "c"),
        ("operator:no", "abde"),
        ("has:recording,operator", "ac"),
        ("has:violation", "d"),
        ("has:gap", "e"),
        ("date:today", "ae"),
        ("date:yesterday", "b"),
        ("date:7d", "abce"),
        ("date:2026-11-23", "ae"),
        ("date:2026-11", "abce"),
        ("date:<2026-11", "d"),
        ("date:>=2026-11-22", "abe"),
        ("date:>2026-11-22", "ae"),
        ("date:2026-11-20..2026-11-22", "bc"),
        ("date:<36h", "cd"),
        ("date:4d..36h", "c"),
        ("date:2026-11-23T11:00", "e"),
        ("date:99999w", "abcde"),
        ("order", "ab"),
        ("ORDER cancel", "a"),
        ('"cancel my order"', "a"),
        ('"my order"', "ab"),
        ('"order my"', ""),
        ("-order", "cde"),
        ("lobster -order", "c"),
        ("lobster test:yes,no", "ct"),
        ("lobster outcome:transferred response:>1500 has:flagged", "c"),
    ],
)
def test_each_operator_of_the_language(house: Cast, text: str, letters: str) -> None:
    assert found(text) == letters


def test_turns_are_asked_for_their_own_words_and_times(house: Cast) -> None:
    Turn.objects.create(
        call=house.by["a"], number=2, kind="answer", outcome="answered", user_text="no order", latency_ms=9
    )
    turns = turns_of(parse("order lang:en"), NOON).order_by("call__call_sid", "number")
    assert [(turn.call.call_sid, turn.number) for turn in turns] == [("CAa", 1), ("CAa", 2), ("CAb", 1)]
    assert [turn.number for turn in turns_of(parse("id:CAa response:<100"), NOON)] == [2]
    assert [turn.number for turn in turns_of(parse("id:CAa -cancel"), NOON)] == [2]


# --- facets and histogram ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "outcome:error", "response:>1500 lang:de", "order", "has:operator", "date:2d", "-error:ear", "who:new flagged:no"])  # fmt: skip
def test_a_facet_s_count_is_what_its_click_finds(house: Cast, text: str) -> None:
    query = parse(text)
    clicked = 0
    for facet in facets(query, NOON):
        for choice in facet.choices:
            if choice.chosen or query.asks(facet.name):
                continue
            assert len(found(to_text(choice.query))) == choice.count, (facet.name, choice.value)
            clicked += 1
    assert clicked > 5


def test_other_values_of_a_facet_that_is_asked_for_stay_to_be_added(house: Cast) -> None:
    outcome = next(facet for facet in facets(parse("outcome:error lang:en"), NOON) if facet.name == "outcome")
    assert {choice.value: (choice.count, choice.chosen) for choice in outcome.choices} == {
        "completed": (1, False),
        "error": (1, True),
    }
    assert to_text(outcome.choices[0].query) == "outcome:error,completed lang:en"
    assert to_text(outcome.choices[1].query) == "lang:en"


def test_the_histogram_has_every_call_once_by_outcome(house: Cast) -> None:
    query = parse("date:2026-11-20..2026-11-23")
    drawn = histogram(query, calls_of(query, NOON + timedelta(hours=1)), NOON + timedelta(hours=1))
    assert drawn is not None
    assert sum(bar.count for bar in drawn.bars) == 4
    assert dict((outcome, count) for outcome, _label, count in drawn.outcomes) == {
        "completed": 1, "transferred": 1, "error": 1, "live": 1,
    }  # fmt: skip
    assert all(later.start == bar.end for bar, later in zip(drawn.bars, drawn.bars[1:], strict=False))
    assert len(drawn.bars) <= 61
    for bar in drawn.bars:
        span = parse(f"date:>={bar.start:%Y-%m-%dT%H:%M} date:<{bar.end:%Y-%m-%dT%H:%M}")
        assert calls_of(span, NOON).count() == bar.count
    assert histogram(parse("date:2019"), Call.objects.none(), NOON) is None


def test_what_is_counted_beside_the_list_is_for_its_readers(house: Cast, as_role: Callable[[str], Client], client: Client) -> None:  # fmt: skip
    assert client.get(f"{LIST}beside/facets?q=").status_code == 302
    html = as_role("viewer").get(f"{LIST}beside/facets?q=lang:en&sort=longest").text
    assert 'href="/console/calls/?q=lang%3Aen+outcome%3Aerror&amp;sort=longest"' in html
    assert as_role("viewer").get(f"{LIST}beside/facets?q=caller:1234").status_code == 400
    assert as_role("viewer").get(f"{LIST}beside/histogram?q=order&by=meaning").status_code == 400
    assert "1 completed" in as_role("viewer").get(f"{LIST}beside/histogram?q=id:CAa").text


# --- the page ---------------------------------------------------------------------------------------------------------


def sids(html: str) -> list[str]:
    """The calls of a page, in order."""
    return re.findall(r'<tr data-href="/console/calls/(\w+)/[?][^"]*">', html)


def page(client: Client, status: int = 200, **given: str) -> str:
    response = client.get(f"{LIST}?{urlencode(given)}")
    assert response.status_code == status, given
    return response.content.decode()


def test_the_list_is_for_who_may_see_the_console(house: Cast, as_role: Callable[[str], Client], client: Client) -> None:
    assert client.get(LIST).status_code == 302
    html = page(as_role("viewer"), q="")
    assert sids(html) == ["CAa", "CAe", "CAb", "CAc", "CAd"]
    assert "Export CSV" not in html
    assert "Flag chosen" not in html
    assert "+44 •••• ••1234" in html
    assert "+442079461234" not in html


def test_words_are_marked_where_they_were_said_and_lead_there(house: Cast, as_role: Callable[[str], Client]) -> None:
    html = page(as_role("viewer"), q='"cancel my order"')
    assert "<mark>cancel my order</mark>" in html
    assert 'href="/console/calls/CAa/?t=83.2&amp;q=%22cancel+my+order%22">1:23</a>' in html
    assert sids(html) == ["CAa"]


def test_what_only_some_may_see_or_ask_is_not_told_to_others(house: Cast, as_role: Callable[[str], Client]) -> None:
    call("CAs", said="my card is 4111 1111 order me@example.com")
    shown = page(as_role("viewer"), q="order id:CAs")
    assert "4111" not in shown
    assert "me@example.com" not in shown
    assert "4111 1111" in page(as_role("reviewer"), q="order id:CAs")
    assert "console.reveal_number" in page(as_role("viewer"), q="caller:1234")
    assert "unredacted text alone" in page(as_role("viewer"), q="4111")
    assert sids(page(as_role("reviewer"), q="4111")) == ["CAs"]
    assert "without redaction. Search by words" in page(as_role("viewer"), q="order", by="meaning")


def test_a_mistake_is_named_and_nothing_is_listed(house: Cast, as_role: Callable[[str], Client]) -> None:
    html = page(as_role("viewer"), q="outcome:eror")
    assert "outcome:eror" in html
    assert "Did you mean <code>error</code>?" in html
    assert sids(html) == []


def test_the_empty_list_names_the_filter_to_blame(house: Cast, as_role: Callable[[str], Client]) -> None:
    html = unescape(page(as_role("viewer"), q="lang:en response:>1500"))
    assert "No calls fit" in html
    assert re.search(r"Without <code[^>]*>response:>1500</code>: <a href=\"\?q=lang%3Aen\">2 calls</a>", html)
    assert re.search(r"Without <code[^>]*>lang:en</code>: <a href=\"\?q=response%3A%3E1500\">1 call</a>", html)
    assert "No single filter is to blame" in page(as_role("viewer"), q="lang:fr response:>9000")


def test_hostile_words_are_shown(house: Cast, as_role: Callable[[str], Client]) -> None:
    call("CAh", said=f"lobster {HOSTILE} " + "x" * 10_000, software_version="<b>1</b>")
    for given in ({"q": "lobster"}, {"q": HOSTILE}, {"q": "lobster", "show": "turns"}, {"q": "", "cols": HOSTILE, "sort": HOSTILE}):  # fmt: skip
        response = as_role("reviewer").get(f"{LIST}?{urlencode(given)}")
        assert response.status_code in (200, 400)
        assert "<script>alert" not in response.text
        assert "<b>1</b>" not in response.text
        assert '" onmouseover="' not in response.text


def test_pages_follow_each_other_whatever_is_written_meanwhile(
    house: Cast, as_role: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_role("viewer")
    for sort in listing.SORTS.values():
        seen: list[str] = []
        after, more = "", True
        while more:
            got = listing.calls_page(calls_of(parse(""), NOON), sort, after, 2)
            seen += [one.call_sid for one in got.rows]
            if not after and sort.name == "newest":
                call("CAz", NOON + timedelta(days=1))
            after, more = got.after, bool(got.after)
        assert sorted(seen) == sorted({"CAa", "CAb", "CAc", "CAd", "CAe"} | ({"CAz"} if sort.name not in ("newest",) else set())), sort  # fmt: skip
        values = [Call.objects.values_list(sort.column, flat=True).get(call_sid=sid) for sid in seen]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=not sort.ascending)
        assert values[: len(known)] == known, "what has no value comes last"
    monkeypatch.setattr(listing, "PAGE", 2)
    first = listing.calls_page(calls_of(parse(""), NOON), listing.NEWEST, "", 2)
    html = page(client, q="", after=first.after)
    assert set(sids(html)).isdisjoint(one.call_sid for one in first.rows)


def test_forged_marks_of_pages_are_refused(house: Cast, as_role: Callable[[str], Client]) -> None:
    client = as_role("viewer")
    good = listing.calls_page(calls_of(parse(""), NOON), listing.NEWEST, "", 2).after
    for mark in ("1", good[:-1], good + "x", signing.dumps(["newest", "2026-01-01", 1]), "é" * 300):
        assert "not one of ours" in page(client, 400, q="", after=mark)
        assert "not one of ours" in page(client, 400, q="", after=mark, show="turns")
    assert "not one of ours" in page(client, 400, q="", sort="longest", after=good)
    strange = signing.dumps(["newest", {"a": 1}, "x"], salt=listing._SALT)
    assert "not one of ours" in page(client, 400, q="", after=strange)


def test_the_count_is_exact_and_on_request(house: Cast, as_role: Callable[[str], Client]) -> None:
    client = as_role("viewer")
    assert "Count exactly" in page(client, q="lang:en")
    assert re.search(r'id="count">2 calls', page(client, q="lang:en", count="1"))
    assert re.search(r'id="count">2 turns', page(client, q="lang:en", count="1", show="turns"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("error:ear:cut", "b"),
        ("error:ear", "b"),
        ("error:ea", ""),
        ("error:model", ""),
        ("-error:ear", "acde"),
        ("error:model,ear", "b"),
    ],
)
def test_turns_are_asked_what_failed_in_them(
    house: Cast, as_role: Callable[[str], Client], query: str, found: str
) -> None:
    house.by["b"].turns.update(causes=["ear:cut"])
    assert sorted(set(sids(page(as_role("viewer"), q=query, show="turns")))) == [f"CA{letter}" for letter in found]


def test_meaning_finds_what_was_said_in_other_words(house: Cast, as_role: Callable[[str], Client]) -> None:
    Call.objects.exclude(end_reason="").update(meaning_due_at=NOON)
    for one in house.by.values():
        meanings.embed_call(one.call_sid)
    client = as_role("reviewer")
    html = page(client, q='"I no longer need what I bought"', by="meaning")
    assert sids(html)[0] in ("CAa", "CAb")
    assert re.search(r'<span class="chip chip-info">(very close|close|related|loosely related), \d+%</span>', html)
    assert sids(page(client, q='"shellfish" lang:de', by="meaning")) == ["CAc"]
    assert sids(page(client, q='"shellfish" lang:de', by="meaning", show="turns")) == ["CAc"]


def test_memories_of_the_calls_that_fit(house: Cast, as_role: Callable[[str], Client]) -> None:
    html = page(as_role("reviewer"), q="lang:en", show="memories")
    assert "No memories fit" in html


# --- files ------------------------------------------------------------------------------------------------------------


def streamed(response: Any) -> str:
    return b"".join(response).decode()


def test_the_export_is_the_list(house: Cast, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    listed = sids(page(client, q="test:no", sort="slowest"))
    given = {"q": "test:no", "sort": "slowest"}
    table = list(csv.DictReader(io.StringIO(streamed(client.post(f"{LIST}export", given | {"format": "csv"})))))
    assert [row["call_sid"] for row in table] == listed
    assert table[[row["call_sid"] for row in table].index("CAa")]["caller"] == "'+442079461234"
    lines = streamed(client.post(f"{LIST}export", given | {"format": "jsonl"})).splitlines()
    assert [json.loads(line)["call_sid"] for line in lines] == listed
    some = streamed(client.post(f"{LIST}export", given | {"format": "jsonl", "sid": ["CAb", "CAa"]})).splitlines()
    assert [json.loads(line)["call_sid"] for line in some] == ["CAb", "CAa"]
    said = streamed(client.post(f"{LIST}export", {"q": "order", "show": "turns", "format": "jsonl"})).splitlines()
    assert [json.loads(line)["caller_said"] for line in said] == ["I want to cancel my order", "my order was cancelled"]
    entry = AuditEntry.objects.filter(action="calls.exported").last()
    assert entry is not None
    assert entry.after == {"query": "test:no", "rows": 5, "format": "csv", "chosen": 0}


def test_no_cell_of_a_table_is_a_formula(house: Cast, as_role: Callable[[str], Client]) -> None:
    call("CAf", said="lobster", end_reason="=cmd()")
    text = streamed(as_role("engineer").post(f"{LIST}export", {"q": "id:CAf lobster", "format": "csv"}))
    assert ",'=cmd()," in text


def test_a_long_list_is_written_by_the_worker_for_its_owner(
    house: Cast, as_role: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    settings.DATA_DIR = str(tmp_path)
    monkeypatch.setattr(exports, "MOST_STREAMED", 3)
    sent: list[str] = []
    monkeypatch.setattr(tasks.export, "delay", sent.append)
    client = as_role("engineer")
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{LIST}export", {"q": "", "format": "csv"}).headers["Location"] == f"{LIST}exports/"
    job = ListExport.objects.get()
    assert sent == [str(job.pk)]
    assert "being written" in client.get(f"{LIST}exports/").text
    assert client.get(f"{LIST}exports/{job.pk}").status_code == 404
    tasks.export(str(job.pk))
    answer = client.get(f"{LIST}exports/{job.pk}")
    assert len(list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))) == 5
    other = as_role("admin")
    assert other.get(f"{LIST}exports/{job.pk}").status_code == 404
    ListExport.objects.update(asked_at=timezone.now() - timedelta(days=2))
    assert tasks.drop_exports() == 1
    assert list((tmp_path / "exports").iterdir()) == []


def test_who_lost_the_permission_gets_no_file(house: Cast, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = str(tmp_path)
    job = ListExport.objects.create(owner=somebody("viewer"), show="calls", format="csv")
    tasks.export(str(job.pk))
    job.refresh_from_db()
    assert job.ready_at is None


@pytest.mark.parametrize(
    ("path", "role"),
    [("export", "operator"), ("exports/", "operator"), ("flag", "viewer")],
)
def test_files_and_flags_need_their_permission(house: Cast, as_role: Callable[[str], Client], path: str, role: str) -> None:  # fmt: skip
    client = as_role(role)
    refused = client.get(LIST + path) if path.endswith("/") else client.post(LIST + path, {"sid": "CAa"})
    assert refused.status_code == 403
    assert CallFlag.objects.count() == 1


def test_bad_exports_are_refused(house: Cast, as_role: Callable[[str], Client]) -> None:
    client = as_role("engineer")
    for given in ({"format": "exe"}, {"q": "outcome:x"}, {"show": "memories"}, {"q": "order", "by": "meaning"}):
        assert client.post(f"{LIST}export", given).status_code == 400


# --- flags and views --------------------------------------------------------------------------------------------------


def test_chosen_calls_are_flagged_each_with_its_line_in_the_trail(
    house: Cast, as_role: Callable[[str], Client]
) -> None:
    answer = as_role("reviewer").post(f"{LIST}flag", {"sid": ["CAa", "CAb", "CAc", "CAnone"], "reason": "angry", "q": "lang:en"})  # fmt: skip
    assert parse_qs(urlsplit(answer.headers["Location"]).query) == {"q": ["lang:en"]}
    assert dict(CallFlag.objects.values_list("call__call_sid", "reason")) == {"CAa": "angry", "CAb": "angry", "CAc": "rude"}  # fmt: skip
    assert set(AuditEntry.objects.filter(action="call.flagged").values_list("call_sid", flat=True)) == {"CAa", "CAb"}


def test_a_view_keeps_query_columns_and_sort(house: Cast, as_role: Callable[[str], Client]) -> None:
    client = as_role("viewer")
    given = {"q": "lang:en", "cols": "start,outcome", "sort": "longest", "name": "English <b>", "is_default": "on"}
    client.post(f"{LIST}views", given)
    view = SavedView.objects.get()
    assert (view.query, view.columns, view.sort, view.is_default, view.shared) == (
        "lang:en", ["start", "outcome"], "longest", True, False,
    )  # fmt: skip
    address = client.get(LIST).headers["Location"]
    assert parse_qs(urlsplit(address).query) == {"q": ["lang:en"], "cols": ["start,outcome"], "sort": ["longest"]}
    html = client.get(address).text
    assert sids(html) == ["CAb", "CAa"] or sids(html) == ["CAa", "CAb"]
    assert "English &lt;b&gt;" in html
    client.post(f"{LIST}views", given | {"name": "Other", "shared": "on"})
    assert list(SavedView.objects.filter(is_default=True).values_list("name", flat=True)) == ["Other"]
    other = as_role("operator")
    assert other.get(LIST).status_code == 200
    assert "shared by viewer" in other.get(LIST).text
    assert other.post(f"{LIST}views/{view.pk}/drop").status_code == 404
    assert client.post(f"{LIST}views/{view.pk}/drop").status_code == 302
    assert SavedView.objects.count() == 1
    assert client.post(f"{LIST}views", {"name": " "}).status_code == 302
    assert SavedView.objects.count() == 1
