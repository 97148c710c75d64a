"""The pages of one caller: what is known with its sources, and what was said."""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from memory import callpages, overview, people, selectors
from memory.admin import factview, shown
from memory.admin.audit import Use, operator, recorded
from memory.core import budget
from memory.crypto import SealBroken
from memory.db import scoped
from memory.manager import current
from memory.models import Access, Caller, Conversation, ErasureRequest
from memory.services import accesses

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.http import HttpRequest

    from memory.people import Person

VIEW, READ, NUMBER, CORRECT, ERASE = (
    f"memory.{name}" for name in ("view_caller", "read_caller", "see_number", "correct_caller", "erase_caller")
)
_FACTS, _LINES, _CONVERSATIONS, _LAST = 100, 200, 20, 8


def of_caller(action: str, *needs: str, looking: str = "") -> Callable[[Callable[..., HttpResponse]], Any]:
    """A view of one caller: gets the ``Person`` and the ``Use`` that goes on record as ``action``.

    ``looking`` is the action of a request that changes nothing, where that is another one. Whoever lacks a permission is
    refused, on record; a caller who is gone leads back to the list.
    """

    def decorate(view: Callable[..., HttpResponse]) -> Any:
        @wraps(view)
        def checked(request: HttpRequest, caller_id: UUID, **place: Any) -> HttpResponse:
            row = Caller.objects.filter(pk=caller_id).first()
            did = action if request.method == "POST" else looking or action
            with recorded(request, did, *([row.key_hash] if row else []), needs=(VIEW, *needs)) as use:
                try:
                    person = people.opened(row) if row else None
                except SealBroken as error:
                    use.outcome = "sealed"
                    return back_to_list(request, f"{error}.")
                if person is None:
                    use.outcome = "absent"
                    return back_to_list(request, "There is no such caller: erased, or never there.")
                return view(request, person, use, **place)

        return never_cache(checked)

    return decorate


def number_for(request: HttpRequest, person: Person) -> str:
    """The whole number for whoever may see it, which goes on record by itself; else its end."""
    if not request.user.has_perm(NUMBER):
        return shown.number(person, whole=False)
    accesses.note(operator(request), "see number", [person.key_hash])
    return shown.number(person, whole=True)


def back_to_list(request: HttpRequest, why: str) -> HttpResponse:
    """To the list of callers, which says why."""
    messages.error(request, why)
    return HttpResponseRedirect(reverse("admin:memory_caller_changelist"))


def page(request: HttpRequest, template: str, person: Person, title: str, **context: Any) -> HttpResponse:
    """One of a caller's pages."""
    may = {name: request.user.has_perm(f"memory.{name}_caller") for name in ("read", "correct", "erase")}
    return render(
        request,
        f"admin/memory/{template}.html",
        {
            **admin.site.each_context(request),
            "title": title,
            "opts": Caller._meta,
            "person": person,
            "number": shown.number(person, whole=False),
            "caller_url": shown.caller_url(person.id),
            "may": may,
            **context,
        },
    )


# --- the caller -------------------------------------------------------------------------------------------------------


@of_caller("see caller", READ)
def caller(request: HttpRequest, person: Person, use: Use) -> HttpResponse:
    """Card, facts by slot, conversations, receipts, and who looked."""
    row = overview.with_figures(Caller.objects.filter(pk=person.id)).get()
    state = request.GET.get("state", "")
    state = state if state in overview.STATES else ""
    facts = Paginator(overview.fact_ids(person, state=state), _FACTS).get_page(request.GET.get("facts"))
    views = _facts(request, person, list(facts.object_list))
    with scoped(person.id):
        talks = Paginator(overview.conversations(person), _CONVERSATIONS).get_page(request.GET.get("talks"))
        spoken = list(talks.object_list)
    calls = callpages.find([one.name for one in spoken], request.user)
    use.items = len(views)
    card = current().profile(person)
    return page(
        request,
        "caller",
        person,
        card.name or "Caller",
        row=row,
        whole_number=number_for(request, person),
        first_seen=shown.moment(row.created_at),
        last_seen=shown.moment(row.last_seen_at, "no conversation yet"),
        card=card,
        card_lines=_card_lines(card.text),
        card_tokens=budget.tokens_of(card.text),
        states=shown.MEANS,
        state=state,
        facts=facts,
        groups=factview.groups(views),
        talks=talks,
        conversations=[(one, calls.get(one.name), shown.moment(one.began_at), _read(one)) for one in spoken],
        receipts=[
            (one, shown.moment(one.asked_at))
            for one in ErasureRequest.objects.filter(caller_hash=person.key_hash)[:_LAST]
        ],
        looks=[(one, shown.moment(one.at)) for one in Access.objects.filter(caller_hash=person.key_hash)[:_LAST]],
    )


def _facts(request: HttpRequest, person: Person, ids: list[UUID]) -> list[factview.FactView]:
    """These facts in this order."""
    found = {fact.id: fact for fact in selectors.facts(person, ids=ids)}
    ordered = [found[str(one)] for one in ids if str(one) in found]
    return factview.views(person, ordered, request.user, timezone.now())


def _card_lines(text: str) -> list[tuple[str, list[str]]]:
    """The card's lines of JSON: the heading of each, and what stands under it."""
    lines: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        for heading, told in json.loads(line).items():
            if heading == "date" and lines:
                lines[-1][1].append(f"({told})")
            else:
                lines.append((heading, told if isinstance(told, list) else [str(told)]))
    return lines


def _read(one: Conversation) -> str:
    """How far the chain is with a conversation."""
    if one.card_at is not None:
        return "read"
    if one.distil_error:
        return f"not read: {one.distil_error.replace('_', ' ')}"
    return "being read"


# --- a conversation ---------------------------------------------------------------------------------------------------


@of_caller("see conversation", READ)
def conversation(request: HttpRequest, person: Person, use: Use, conversation_id: UUID) -> HttpResponse:
    """What was said, line by line, and the facts that were taken from it."""
    with scoped(person.id):
        talk = Conversation.objects.filter(caller_id=person.id, pk=conversation_id).first()
    if talk is None:
        use.outcome = "absent"
        messages.error(request, "This caller has no such conversation: forgotten, or never there.")
        return HttpResponseRedirect(shown.caller_url(person.id))
    pages = Paginator(overview.line_ids(person, talk.pk), _LINES)
    lines = pages.get_page(request.GET.get("page") or _page_of(person, talk, request.GET.get("line", "")))
    said = selectors.lines(person, ids=list(lines.object_list))
    use.items = len(said)
    url = reverse("admin:memory_caller_conversation", args=[person.id, talk.pk])
    call = callpages.find([talk.name], request.user).get(talk.name)
    heard = overview.heard_in(person, talk.pk, [line.seq for line in said])
    return page(
        request,
        "conversation",
        person,
        "Conversation",
        talk=talk,
        began=shown.moment(talk.began_at),
        ended=shown.moment(talk.ended_at),
        read=_read(talk),
        call=call,
        lines=lines,
        said=[(line, factview.place(talk.name, f"{url}#line-{line.seq}", call, line.audio_ms)) for line in said],
        groups=factview.groups(
            sorted(_facts(request, person, heard), key=lambda view: (not view.fact.slot, view.fact.slot))
        ),
    )


def _page_of(person: Person, talk: Conversation, seq: str) -> int:
    """The page on which the line with this number stands; the first for what is no number."""
    if not (seq.isascii() and seq.isdigit() and len(seq) < 10):
        return 1
    with scoped(person.id):
        before = talk.utterances.filter(caller_id=person.id, seq__lt=int(seq)).count()
    return before // _LINES + 1
