"""Pages of this screen: the list, its files, flags on many calls at once, and saved views."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.db.models import Q
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from calls.models import Call
from memory.embedding.port import EmbeddingError
from voiceagent.console import audit
from voiceagent.console.access import granted, needs
from voiceagent.console.calls import exports, listing, meaning, memories, params, rows
from voiceagent.console.calls.conditions import calls_of, turns_of
from voiceagent.console.calls.facets import facets
from voiceagent.console.calls.histogram import HEIGHT, WIDTH, histogram
from voiceagent.console.calls.language import FIELDS
from voiceagent.console.calls.params import Params
from voiceagent.console.calls.parsing import Query, parse, term_text
from voiceagent.console.calls.snippets import covering
from voiceagent.console.calls.tasks import export as export_task
from voiceagent.console.exports import FORMATS
from voiceagent.console.models import CallFlag, ListExport, SavedView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.contrib.auth.models import User
    from django.http import HttpRequest, QueryDict

    from voiceagent.console.calls.meaning import Near

SCREEN = "calls"
_MOST_BLAMED = 10
_MOST_FLAGGED = 200


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks for, and what its user may."""

    view: Params
    query: Query
    may: frozenset[str]
    now: datetime


def _user(request: HttpRequest) -> User:
    """Who asks; the views here have let in who has signed in alone."""
    return cast("User", request.user)


def _asked(request: HttpRequest, given: QueryDict) -> _Asked:
    view, may = params.read(given), granted(request.user)
    return _Asked(view, parse(view.q, may), may, timezone.localtime())


@require_GET
@needs("console.view_console")
def calls(request: HttpRequest) -> HttpResponse:
    """The list. Without any parameter it is the reader's default view, if they have one."""
    views = _views(request)
    if not request.GET:
        mine = next((view for view in views if view.is_default and view.owner_id == request.user.pk), None)
        if mine is not None:
            return HttpResponseRedirect(_view_address(mine))
    asked = _asked(request, request.GET)
    context: dict[str, Any] = {
        "view": asked.view,
        "query": asked.query,
        "views": [(view, _view_address(view)) for view in views],
        "fields": FIELDS.values(),
        "may_export": "export_bulk" in asked.may,
        "may_flag": "flag_call" in asked.may,
        "may_mean": "see_unredacted" in asked.may,
        **_choices(asked.view),
    }
    status = 200
    try:
        context |= _results(asked)
    except listing.ForgedMark:
        context["failure"] = "The address of this page is not one of ours. Begin at the first page."
        status = 400
    except EmbeddingError:
        context["failure"] = "The model that searches by meaning is not there. Search by words."
    return render(request, "console/calls/calls.html", context, status=status)


def _choices(view: Params) -> dict[str, Any]:
    """The switches of the list, each with the address that it leads to."""
    return {
        "shown": [(name, text, view.but(show=name).address) for name, text in params.SHOWN.items()],
        "found_by": [(name, text, view.but(by=name).address) for name, text in params.BY.items()],
        "sorts": listing.SORTS.values(),
        "all_columns": [(name, text, name in view.columns) for name, text in params.COLUMNS.items()],
        "headings": [params.COLUMNS[name] for name in view.columns] if view.show == "calls" else rows.TURN_COLUMNS,
        "dense": view.but(density="roomy" if view.density == "compact" else "compact").address,
        "address": view.address,
        "count_address": view.but(counted=True).address,
        "clear": view.but(q="").address,
    }


def _results(asked: _Asked) -> dict[str, Any]:
    """Rows, facets and histogram; nothing while the query has words that are not understood."""
    view, query, now = asked.view, asked.query, asked.now
    if query.problems:
        return {}
    by_meaning = view.by == "meaning" and bool(query.words)
    if by_meaning and "see_unredacted" not in asked.may:
        return {"failure": "Search by meaning is for who may see transcripts without redaction. Search by words."}
    near = meaning.nearest(query, now) if by_meaning and view.show != "memories" else None
    shown = _SHOW[view.show](asked, near)
    context = shown | {
        "by_meaning": by_meaning,
        "beside": "" if view.after else view.address,
        "next": view.but(after=shown["after"]).address if shown.get("after") else "",
        "first": view.but(after="").address if view.after else "",
    }
    if not context["rows"] and not view.after:
        context["blamed"] = list(_blame(asked))
    return context


@require_GET
@needs("console.view_console")
def beside(request: HttpRequest, part: str) -> HttpResponse:
    """What stands beside the list, counted over all calls that fit: its facets or its histogram, as a fragment."""
    asked = _asked(request, request.GET)
    view, query, now = asked.view, asked.query, asked.now
    by_meaning = view.by == "meaning" and bool(query.words)
    if query.problems or (by_meaning and "see_unredacted" not in asked.may):
        raise BadRequest("the query is not understood")
    found = _found(query, now, meaning.nearest(query, now) if by_meaning else None)
    if part == "histogram":
        context: dict[str, Any] = {"histogram": histogram(query, found(query), now), "drawing": (WIDTH, HEIGHT)}
    else:
        counted = facets(query, now, found)
        context = {"facets": [(facet, [(one, view.asking(one.query)) for one in facet.choices]) for facet in counted]}
    return render(request, f"console/calls/{part}.html", context)


def _found(query: Query, now: datetime, near: list[Near] | None) -> Any:
    """How the calls of a query, or of one like it, are found: by meaning they are among those that were nearest."""
    if near is None:
        return lambda asked: calls_of(asked, now)
    among = {one.turn.call_id for one in near}
    return lambda asked: calls_of(asked, now, words=False).filter(pk__in=among)


def _calls(asked: _Asked, near: list[Near] | None) -> dict[str, Any]:
    view, cover = asked.view, covering(asked.may)
    if near is not None:
        best = {turn.call_id: one for one in reversed(near) for turn in [one.turn]}
        found = meaning.calls_among(near)
        shown = rows.call_rows(found, view.columns, asked.query, cover, best, carried=view.carried)
        return {"rows": shown, "count": len(found)}
    page = listing.calls_page(calls_of(asked.query, asked.now), view.sort, view.after)
    count = calls_of(asked.query, asked.now).count() if view.counted else None
    shown = rows.call_rows(page.rows, view.columns, asked.query, cover, carried=view.carried)
    return {"rows": shown, "after": page.after, "count": count}


def _turns(asked: _Asked, near: list[Near] | None) -> dict[str, Any]:
    view, cover = asked.view, covering(asked.may)
    if near is not None:
        by_turn = {one.turn.pk: one for one in near}
        found = rows.turn_rows([one.turn for one in near], asked.query, cover, by_turn, carried=view.carried)
        return {"rows": found, "count": len(near)}
    page = listing.turns_page(turns_of(asked.query, asked.now), view.after)
    count = turns_of(asked.query, asked.now).count() if view.counted else None
    shown = rows.turn_rows(page.rows, asked.query, cover, carried=view.carried)
    return {"rows": shown, "after": page.after, "count": count}


def _memories(asked: _Asked, _near: list[Near] | None) -> dict[str, Any]:
    return {"rows": memories.remembered(asked.query, asked.now, asked.view.by, covering(asked.may)), "count": None}


_SHOW = {"calls": _calls, "turns": _turns, "memories": _memories}


def _blame(asked: _Asked) -> Iterator[tuple[str, int, str]]:
    """For each term that keeps everything out: how many calls there would be without it, the most first."""
    counted = []
    for term in asked.query.terms[:_MOST_BLAMED]:
        rest = asked.query.without(term)
        counted.append((term_text(term), calls_of(rest, asked.now).count(), asked.view.asking(rest)))
    yield from sorted((one for one in counted if one[1]), key=lambda one: -one[1])


# --- files ------------------------------------------------------------------------------------------------------------


@require_POST
@needs("console.export_bulk")
def export(request: HttpRequest) -> HttpResponseBase:
    """The current query, or the calls that were chosen, as a file: streamed, or over a thousand rows by the worker."""
    asked = _asked(request, request.POST)
    form = request.POST.get("format", "csv")
    if form not in FORMATS or asked.query.problems or asked.view.show == "memories":
        raise BadRequest("what is to be exported is not understood")
    if asked.view.by == "meaning" and asked.query.words:
        raise BadRequest("what was found by meaning is not exported; choose calls, or search by words")
    sids = tuple(request.POST.getlist("sid")[:_MOST_FLAGGED])
    wanted = exports.Wanted(asked.query, asked.view.show, asked.view.sort, form, asked.may, sids)
    count = wanted.count(asked.now, exports.MOST_ROWS + 1)
    if count > exports.MOST_ROWS:
        messages.error(request, f"More than {exports.MOST_ROWS:,} rows are not exported at once: narrow the query.")
        return HttpResponseRedirect(reverse("console:calls") + asked.view.address)
    after = {"query": asked.view.q, "rows": count, "format": form, "chosen": len(sids)}
    audit.record(request, "calls.exported", after=after)
    if count > exports.MOST_STREAMED:
        return _begin_job(request, asked, form)
    pieces = exports.pages(wanted, asked.now, exports.MOST_STREAMED)
    response = StreamingHttpResponse(_streamed(pieces), content_type=FORMATS[form])
    response["Content-Disposition"] = f'attachment; filename="{asked.view.show}-{asked.now:%Y-%m-%d}.{form}"'
    return response


async def _streamed(pieces: Iterator[str]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(pieces, None))
    while (text := await following()) is not None:
        yield text.encode()


def _begin_job(request: HttpRequest, asked: _Asked, form: str) -> HttpResponse:
    job = ListExport.objects.create(
        owner=_user(request),
        query=asked.view.q,
        show=asked.view.show,
        sort=asked.view.sort.name,
        format=form,
        asked_at=asked.now,
    )
    transaction.on_commit(lambda: export_task.delay(str(job.pk)))
    messages.success(request, "The file is being written. It stands here when it is ready, for a day.")
    return HttpResponseRedirect(reverse("console:calls-exports"))


@require_GET
@needs("console.export_bulk")
def export_list(request: HttpRequest) -> HttpResponse:
    """The reader's own exports of the last day."""
    jobs = ListExport.objects.filter(owner_id=request.user.pk)
    return render(request, "console/calls/exports.html", {"jobs": jobs})


@require_GET
@needs("console.export_bulk")
def export_file(request: HttpRequest, job_id: Any) -> FileResponse:
    """A file that was written; nobody's but who asked for it."""
    job = get_object_or_404(ListExport, pk=job_id, owner_id=request.user.pk, ready_at__isnull=False)
    try:
        file = gzip.open(exports.path_of(job), "rb")
    except OSError as error:
        raise Http404 from error
    return FileResponse(file, as_attachment=True, filename=f"{job.show}-{job.asked_at:%Y-%m-%d}.{job.format}", content_type=FORMATS[job.format])  # fmt: skip


# --- flags ------------------------------------------------------------------------------------------------------------


@require_POST
@needs("console.flag_call")
def flag(request: HttpRequest) -> HttpResponse:
    """Flag the calls that were chosen; those that are flagged keep their reason."""
    chosen = Call.objects.filter(call_sid__in=request.POST.getlist("sid")[:_MOST_FLAGGED], callflags=None)
    reason = request.POST.get("reason", "").strip()[:200]
    flagged = 0
    for call in chosen.only("pk", "call_sid"):
        audit.record(request, "call.flagged", call_sid=call.call_sid, reason=reason)
        flagged += CallFlag.objects.get_or_create(call=call, defaults={"author": _user(request), "reason": reason})[1]
    messages.success(request, f"{flagged} call{'' if flagged == 1 else 's'} flagged.")
    return HttpResponseRedirect(reverse("console:calls") + params.read(request.POST).address)


# --- saved views ------------------------------------------------------------------------------------------------------


def _views(request: HttpRequest) -> list[SavedView]:
    """The reader's own, and those that others share."""
    seen = Q(owner_id=request.user.pk) | Q(shared=True)
    return list(SavedView.objects.filter(seen, screen=SCREEN).select_related("owner"))


def _view_address(view: SavedView) -> str:
    saved = params.Params(
        q=view.query, sort=listing.SORTS.get(view.sort, listing.NEWEST), columns=params.columns(view.columns)
    )
    return reverse("console:calls") + saved.address


@require_POST
@needs("console.view_console")
def save_view(request: HttpRequest) -> HttpResponse:
    """Keep the view under a name: the reader's own of that name is replaced."""
    view = params.read(request.POST)
    name = " ".join(request.POST.get("name", "").split())[:80]
    if not name:
        messages.error(request, "A view needs a name.")
        return HttpResponseRedirect(reverse("console:calls") + view.address)
    mine = SavedView.objects.filter(owner_id=request.user.pk, screen=SCREEN)
    is_default = "is_default" in request.POST
    with transaction.atomic():
        if is_default:
            mine.update(is_default=False)
        mine.update_or_create(
            owner_id=request.user.pk,
            screen=SCREEN,
            name=name,
            defaults={
                "query": view.q,
                "columns": list(view.columns),
                "sort": view.sort.name,
                "shared": "shared" in request.POST,
                "is_default": is_default,
            },
        )
    messages.success(request, f"The view {name} is saved.")
    return HttpResponseRedirect(reverse("console:calls") + view.address)


@require_POST
@needs("console.view_console")
def drop_view(request: HttpRequest, view_id: int) -> HttpResponse:
    """Remove a view of the reader's own."""
    get_object_or_404(SavedView, pk=view_id, owner_id=request.user.pk, screen=SCREEN).delete()
    messages.success(request, "The view is removed.")
    return HttpResponseRedirect(reverse("console:calls") + params.read(request.POST).address)
