"""Facts and what was said, across callers: the newest, or the best by words or by meaning."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from memory import callpages, overview, people, search, surroundings
from memory.admin import factview, shown
from memory.admin.audit import recorded
from memory.admin.factview import Place
from memory.admin.pages import READ, VIEW
from memory.core import slots
from memory.core.text import question
from memory.core.values import Kind
from memory.crypto import SealBroken
from memory.embedding.port import EmbeddingError
from memory.models import Memory, Utterance
from memory.search import Meant, Mention
from memory.selectors import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse

    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin

_PAGE = 50
_MOST_CHARS = 500
#: How to search, and what it is called.
WORDS, MEANING, OPENAI = "words", "meaning", "openai"
_ROLES = dict(Utterance.Role.choices)
_KINDS = [kind.value for kind in Kind if kind is not Kind.UTTERANCE]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the address asks for; what makes no sense in it is ignored."""

    text: str
    by: str
    kind: str
    slot: str
    state: str
    role: str
    start: int
    before: str

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.text or self.kind or self.slot or self.state or self.role)


@dataclass(frozen=True, slots=True)
class Line:
    """A mention for a template."""

    mention: Mention
    number: str
    caller_url: str
    at: str
    place: Place
    score: str


class _FoundAdmin(shown.ReadOnlyMixin, _Admin):
    """A list that is a search. There is no page of one row: a hit leads to its caller."""

    facts: ClassVar[bool]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may read a caller."""
        return request.user.has_perms((VIEW, READ))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """The same."""
        return self.has_view_permission(request)

    def get_urls(self) -> list[Any]:
        """The list alone."""
        return [url for url in super().get_urls() if url.name and url.name.endswith("_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The search."""
        return never_cache(_search)(request, self.facts)


class FactAdmin(_FoundAdmin):
    """Facts."""

    facts = True


class UtteranceAdmin(_FoundAdmin):
    """What was said."""

    facts = False


def _search(request: HttpRequest, facts: bool) -> HttpResponse:
    model = Memory if facts else Utterance
    chosen, ways = _chosen(request), _ways()
    chosen_by = chosen.by if chosen.by in dict(ways) else WORDS
    error, mentions = "", []
    with recorded(request, f"search {'facts' if facts else 'utterances'}", needs=(VIEW, READ)) as use:
        try:
            mentions = _found(chosen, chosen_by, facts)
        except (EmbeddingError, SealBroken) as reason:
            error, use.outcome = f"{reason}.", "failed"
        use.callers = list(dict.fromkeys(one.person.key_hash for one in mentions))
        use.items = len(mentions[:_PAGE])
        lines = _lines(mentions[:_PAGE], request.user)
    more = len(mentions) > _PAGE and chosen.start + _PAGE < search.MOST_RANKED
    return render(
        request,
        "admin/memory/found.html",
        {
            **admin.site.each_context(request),
            "title": "Facts" if facts else "What was said",
            "opts": model._meta,
            "facts": facts,
            "chosen": chosen,
            "chosen_by": chosen_by,
            "ways": ways,
            "kinds": _KINDS,
            "slots": slots.SLOTS,
            "states": shown.MEANS,
            "roles": _ROLES,
            "lines": lines,
            "error": error,
            "is_empty": not chosen.is_narrowed and not lines and not error,
            "next_query": _next(request, chosen, lines) if more else "",
            "first_query": _query(request, start=None, before=None) if chosen.start or chosen.before else "",
            "most": search.MOST_RANKED,
        },
    )


def _found(chosen: Chosen, by: str, facts: bool) -> list[Mention]:
    """One more than a page, which tells whether there is another."""
    narrowed = _narrowed(chosen, facts)
    if not chosen.text:
        return search.newest(facts, narrowed, before=people.as_id(chosen.before), limit=_PAGE + 1)
    if by == WORDS:
        return search.by_words(chosen.text, facts, narrowed, start=chosen.start, limit=_PAGE + 1)
    asked = question(chosen.text)
    if not asked:
        return []
    return search.by_meaning(_meant(asked, by), facts, narrowed, start=chosen.start, limit=_PAGE + 1)


def _meant(asked: str, by: str) -> Meant:
    """What is asked for, as a vector. Raises ``EmbeddingError``."""
    if by == MEANING:
        local = surroundings.embedder()
        return Meant(local.embed_query(asked), local.name)
    second = surroundings.second_embedder()
    if second is None:
        raise EmbeddingError("OPENAI_EMBEDDING_MODEL names no model")
    with closing(second):
        return Meant(second.embed_query(asked), second.name, SECOND)


def _narrowed(chosen: Chosen, facts: bool) -> search.Narrowed:
    """The filters as conditions."""
    if not facts:
        return search.Narrowed(role=chosen.role)
    return search.Narrowed(kind=chosen.kind, slot=chosen.slot, state=overview.STATES.get(chosen.state))


def _lines(mentions: Sequence[Mention], user: Any) -> list[Line]:
    calls = callpages.find([one.conversation for one in mentions], user)
    numbers = search.numbers([one.person for one in mentions])
    return [
        Line(
            mention=one,
            number=shown.masked(numbers[one.person.id]),
            caller_url=shown.caller_url(one.person.id),
            at=shown.moment(one.at),
            place=_place(one, calls),
            score="" if one.score is None else f"{one.score:.3f}",
        )
        for one in mentions
    ]


def _place(one: Mention, calls: Mapping[str, callpages.CallPage]) -> Place:
    if one.conversation_id is None:
        return factview.Place()
    url = reverse("admin:memory_caller_conversation", args=[one.person.id, one.conversation_id])
    line = f"{url}?line={one.seq}#line-{one.seq}"
    return factview.place(one.conversation, line, calls.get(one.conversation), one.audio_ms)


def _ways() -> list[tuple[str, str]]:
    """How one can search here."""
    ways = [(WORDS, "by words"), (MEANING, "by meaning")]
    second = surroundings.second_embedder()
    if second is not None:
        with closing(second):
            ways.append((OPENAI, f"by meaning, {second.name}"))
    return ways


def _chosen(request: HttpRequest) -> Chosen:
    def of(name: str, known: Any = None, most: int = 80) -> str:
        text = request.GET.get(name, "")[:most].replace("\x00", "").strip()
        return text if known is None or text in known else ""

    start = of("start", most=4)
    return Chosen(
        text=of("q", most=_MOST_CHARS),
        by=of("by"),
        kind=of("kind", _KINDS),
        slot=of("slot").partition(".*")[0],
        state=of("state", overview.STATES),
        role=of("role", _ROLES),
        start=int(start) if start.isascii() and start.isdigit() else 0,
        before=of("before"),
    )


def _next(request: HttpRequest, chosen: Chosen, lines: Sequence[Line]) -> str:
    if chosen.text:
        return _query(request, start=str(chosen.start + _PAGE))
    return _query(request, before=str(lines[-1].mention.id))


def _query(request: HttpRequest, **changes: str | None) -> str:
    """The address's query with these values; ``None`` leaves one out."""
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return query.urlencode() or "all="
