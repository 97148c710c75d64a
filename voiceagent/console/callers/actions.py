"""What operators change: one entry, two of them, a new one, and whether a caller is remembered.

Each is one transaction with its line in the audit log, which names ids and states, never words: those stand in the
memory's own chain of versions. Calls in progress look again at once (``memory.services.correcting.tell``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db import transaction
from django.utils import timezone

from memory import overview, people, selectors
from memory.models import Caller
from memory.selectors import Fact
from memory.services import correcting, forgetting, housekeeping, joining, tombstones
from memory.services import keeping as lasting
from memory.services.correcting import Stale
from memory.services.writing import Erased
from voiceagent.console import audit
from voiceagent.console.callers import forms
from voiceagent.console.callers.caller import gone, of_caller, operator, to_caller
from voiceagent.console.callers.views import caller_page

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from memory.people import Person


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done to an entry. ``does`` gets the caller, the entry, what was typed, and who at which time."""

    permission: str
    audited: str
    form: type[forms.SimpleForm | forms.ForgetForm | forms.CorrectForm]
    done: str
    looked: str
    does: Callable[..., Fact]


def _correct(person: Person, fact_id: UUID, typed: dict[str, Any], **of: Any) -> Fact:
    if typed["how"] == forms.CorrectForm.OVER:
        return correcting.retract(person, fact_id, **of)
    was_wrong = typed["how"] == forms.CorrectForm.WRONG
    return correcting.supersede(person, fact_id, typed["text"], was_wrong=was_wrong, **of)


def _restore(person: Person, fact_id: UUID, _typed: Any, *, seen: str, **of: Any) -> Fact:
    return forgetting.bring_back(person, fact_id, **of)


def _plain(service: Callable[..., Fact]) -> Callable[..., Fact]:
    return lambda person, fact_id, _typed, **of: service(person, fact_id, **of)


_CHANGE, _FORGET = "console.change_memory", "console.forget_memory"
_ENTRIES: dict[str, Action] = {
    "correct": Action(_CHANGE, "memory.corrected", forms.CorrectForm, "Corrected", "correct fact", _correct),
    "pin": Action(_CHANGE, "memory.pinned", forms.SimpleForm, "Pinned", "pin fact", _plain(lasting.pin)),
    "unpin": Action(_CHANGE, "memory.pinned", forms.SimpleForm, "Not pinned any more", "pin fact", _plain(lasting.unpin)),
    "expire": Action(
        _CHANGE, "memory.expired", forms.SimpleForm, "No call is told it unasked", "expire fact", _plain(lasting.let_expire)
    ),
    "forget": Action(
        _FORGET, "memory.forgotten", forms.ForgetForm, "Forgotten: it can be restored for a while", "forget fact",
        _plain(forgetting.set_aside),
    ),
    "restore": Action(_FORGET, "memory.restored", forms.SimpleForm, "Restored", "restore fact", _restore),
}  # fmt: skip


def _view(name: str, action: Action) -> Callable[..., HttpResponse]:
    @of_caller(action.permission, action.looked, post=True)
    def view(request: HttpRequest, person: Person, fact_id: UUID) -> HttpResponse:
        before = _fact(person, fact_id)
        if before is None:
            messages.error(request, "This caller has no such entry: erased, or never there.")
            return to_caller(person)
        form = action.form(request.POST, auto_id=f"{name}-%s")
        if not form.is_valid():
            return _again(request, person, fact_id, name, form)
        typed = form.cleaned_data

        def does() -> Fact:
            of = {"by": operator(request), "now": timezone.now(), "seen": typed["seen"]}
            after = action.does(person, fact_id, typed, **of)
            _audit(request, person, action.audited, typed["reason"], [before], [after])
            return after

        return _done(request, person, fact_id, name, form, does, action.done)

    return view


def _done(
    request: HttpRequest,
    person: Person,
    fact_id: UUID | None,
    name: str,
    form: Any,
    does: Callable[[], Fact],
    said: str,
) -> HttpResponse:
    """Do it, all of it or nothing; what stands in the way is told where it was asked."""
    try:
        with transaction.atomic():
            after = does()
    except Erased:
        return gone(request, person.id)
    except Stale as stale:
        return _conflict(request, person, fact_id, form, stale.fact)
    except LookupError as error:
        messages.error(request, f"Nothing was changed: {error}.")
        return to_caller(person, fact_id)
    except ValueError as error:
        form.add_error(None, f"Nothing was changed: {error}.")
        return _again(request, person, fact_id, name, form)
    messages.success(request, f"{said}. Calls in progress look again at once.")
    state = overview.state_of(after, timezone.now())
    return to_caller(person, after.id, tab="forgotten" if state == "forgotten" else "current")


def _again(request: HttpRequest, person: Person, fact_id: UUID | None, name: str, form: Any) -> HttpResponse:
    return caller_page(request, person, 422, fact_id=fact_id, failed=(name, form))


def _conflict(request: HttpRequest, person: Person, fact_id: UUID | None, form: Any, now: Fact) -> HttpResponse:
    """Somebody was faster: what was asked for beside how it stands."""
    newest = selectors.facts(person, ids=overview.chain_ids(person, _id(now.id))[:1], forgotten=True)
    last = now.history[-1] if now.history else None
    conflict = {
        "asked": form.cleaned_data.get("text", ""),
        "now": now,
        "state": overview.state_of(now, timezone.now()),
        "heir": newest[0] if newest and newest[0].id != now.id else None,
        "last": last,
    }
    return caller_page(request, person, 409, fact_id=fact_id, conflict=conflict)


OF_ENTRY = {name: _view(name, action) for name, action in _ENTRIES.items()}


@of_caller(_CHANGE, "enter fact", post=True)
def add(request: HttpRequest, person: Person) -> HttpResponse:
    """A new entry."""
    form = forms.AddForm(request.POST)
    if not form.is_valid():
        return caller_page(request, person, 422, add_form=form, failed=("add", form))
    typed = form.cleaned_data

    def does() -> Fact:
        slot = typed["slot"].strip()
        after = correcting.store(
            person, typed["kind"], typed["text"], slot=slot, by=operator(request), now=timezone.now()
        )
        _audit(request, person, "memory.added", typed["reason"], [], [after])
        return after

    response = _done(request, person, None, "add", form, does, "Added")
    return response if form.is_valid() else caller_page(request, person, 422, add_form=form, failed=("add", form))


@of_caller(_CHANGE, "merge facts", post=True)
def merge(request: HttpRequest, person: Person) -> HttpResponse:
    """One entry stands for two."""
    return _pair(request, person, apart=False)


@of_caller(_CHANGE, "merge facts", post=True)
def apart(request: HttpRequest, person: Person) -> HttpResponse:
    """They are two: not suggested again."""
    return _pair(request, person, apart=True)


def _pair(request: HttpRequest, person: Person, *, apart: bool) -> HttpResponse:
    form = forms.PairForm(request.POST)
    typed = form.cleaned_data if form.is_valid() else {}
    pair = [_fact(person, typed[name]) for name in ("stays", "goes")] if typed else [None]
    before = [fact for fact in pair if fact is not None]
    if len(before) != 2:
        messages.error(request, "This caller has no such entries: erased, or never there.")
        return to_caller(person)
    stays, goes = typed["stays"], typed["goes"]

    def does() -> Fact:
        now, by = timezone.now(), operator(request)
        if apart:
            joining.keep_apart(person, stays, goes, by=by, now=now)
        else:
            joining.merge(person, stays, goes, by=by, now=now, seen=(typed["stays_seen"], typed["goes_seen"]))
        after = [fact for one in (stays, goes) if (fact := _fact(person, one)) is not None]
        _audit(request, person, "memory.merged", typed["reason"], before, after)
        return after[0]

    return _done(request, person, stays, "merge", form, does, "Kept apart" if apart else "Merged")


@of_caller(_FORGET, "keep for", post=True)
def keeping(request: HttpRequest, person: Person) -> HttpResponse:
    """Whether and how long a caller is remembered."""
    form = forms.KeepingForm(request.POST)
    if not form.is_valid():
        return caller_page(request, person, 422, keeping_form=form)
    typed = form.cleaned_data
    days = Caller.objects.values_list("retention_days", flat=True).get(pk=person.id)
    before = {"days": days, "remembered": not tombstones.never(person.key_hash)}
    after = {"days": typed["days"], "remembered": not typed["unwanted"]}
    if before == after:
        messages.info(request, "Nothing was changed.")
        return to_caller(person)
    with transaction.atomic():
        audit.record(
            request, "caller.kept_out", entry=str(person.id), reason=typed["reason"], before=before, after=after
        )
        if before["days"] != after["days"]:
            housekeeping.keep_for(person, after["days"])
        if before["remembered"] != after["remembered"]:
            housekeeping.remember(person, after["remembered"], now=timezone.now())
    messages.success(request, "Changed. Calls in progress follow at once; what is too old is erased within six hours.")
    return to_caller(person)


# --- parts ------------------------------------------------------------------------------------------------------------


def _fact(person: Person, fact_id: UUID) -> Fact | None:
    return next(iter(selectors.facts(person, ids=[fact_id], forgotten=True)), None)


def _id(text: str) -> UUID:
    found = people.as_id(text)
    assert found is not None  # noqa: S101 - an id of our own
    return found


def _audit(
    request: HttpRequest, person: Person, action: str, reason: str, before: list[Fact], after: list[Fact]
) -> None:
    first = (before or after)[0]
    audit.record(
        request,
        action,
        entry=f"{person.id}/{first.id}",
        reason=reason,
        before=[_state(one) for one in before],
        after=[_state(one) for one in after],
    )


def _state(fact: Fact) -> dict[str, Any]:
    """How an entry stands, without a word of it."""
    return {
        "entry": fact.id,
        "slot": fact.slot,
        "kind": fact.kind,
        "state": overview.state_of(fact, timezone.now()),
        "confidence": round(fact.confidence, 3),
        "pinned": fact.pinned_at is not None,
        "expires_at": fact.expires_at.isoformat() if fact.expires_at else None,
        "superseded_by": fact.superseded_by or None,
    }
