"""Entering, correcting, retracting, forgetting, erasing: a page that says what will happen, and the services that do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from memory import overview, people, selectors
from memory.admin import factview, shown
from memory.admin.audit import Use, operator
from memory.admin.forms import ConfirmForm, CorrectForm, EnterForm, EraseForm, KeepForm
from memory.admin.pages import CORRECT, ERASE, READ, number_for, of_caller, page
from memory.core import slots
from memory.db import scoped
from memory.manager import current
from memory.models import Caller, Conversation
from memory.services import erasure, housekeeping
from memory.services.writing import Erased

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest

    from memory.models import ErasureRequest
    from memory.people import Person
    from memory.selectors import Fact

_SHOWN_CHARS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of change. ``will`` are sentences on what happens; ``does`` gives where to go afterwards."""

    title: str
    button: str
    will: tuple[str, ...]
    form: forms.Form
    does: Callable[[], str]
    is_for_good: bool = False
    context: dict[str, Any] | None = None


def _answer(request: HttpRequest, person: Person, use: Use, asked: Asked) -> HttpResponse:
    """Show the page, or do what it asks: errors stand at the form, what is gone leads back to the caller."""
    if request.method == "POST":
        if asked.form.is_valid():
            try:
                return HttpResponseRedirect(asked.does())
            except Erased:
                use.outcome = "absent"
                messages.error(request, "The caller was erased meanwhile: nothing was changed.")
                return HttpResponseRedirect(reverse("admin:memory_caller_changelist"))
            except LookupError as error:
                use.outcome = "absent"
                messages.error(request, f"Nothing was changed: {error}.")
                return HttpResponseRedirect(shown.caller_url(person.id))
            except ValueError as error:
                asked.form.add_error(None, f"Nothing was changed: {error}.")
        use.outcome = "invalid"
    return page(request, "change", person, asked.title, asked=asked, form=asked.form, **(asked.context or {}))


def _typed(request: HttpRequest) -> Any:
    """What was sent, if anything was: the form of a confirmation is sent empty."""
    return request.POST if request.method == "POST" else None


def _changed(request: HttpRequest, person: Person, use: Use, what: str, fact: Fact) -> str:
    """To the fact. The message is kept in a cookie for a moment: it does not say what is remembered."""
    use.items = 1
    messages.success(request, f"{what}. Calls in progress look again at once.")
    return f"{shown.caller_url(person.id)}#fact-{fact.id}"


# --- facts ------------------------------------------------------------------------------------------------------------


@of_caller("enter fact", READ, CORRECT, looking="see caller")
def enter(request: HttpRequest, person: Person, use: Use) -> HttpResponse:
    """Enter a fact."""
    form = EnterForm(_typed(request))

    def does() -> str:
        values = form.cleaned_data
        slot = values["slot"].strip()
        fact = current().store(person, kind=values["kind"], text=values["text"], slot=slot, by=operator(request))
        return _changed(request, person, use, "Entered", fact)

    will = (
        "It holds from now on and is firmer than what was heard: calls are told it at once.",
        "In a slot of one value it replaces the value before, which stays in the history.",
    )
    asked = Asked("Enter a fact", "Enter the fact", will, form, does, context={"slots": slots.SLOTS})
    return _answer(request, person, use, asked)


@of_caller("correct fact", READ, CORRECT, looking="see fact")
def correct(request: HttpRequest, person: Person, use: Use, fact_id: UUID) -> HttpResponse:
    """Put another fact in the place of one."""
    fact = _fact(person, fact_id)
    form = CorrectForm(_typed(request), initial={"text": (fact.value or fact.text) if fact else ""})

    def does() -> str:
        values = form.cleaned_data
        new = current().supersede(
            person,
            str(fact_id),
            text=values["text"],
            was_wrong=values["how"] == CorrectForm.WRONG,
            by=operator(request),
        )
        return _changed(request, person, use, "Corrected", new)

    will = (
        "The new one takes the place of the old one, which stays in the history with both dates.",
        "To remove what should never have been kept, forget it instead.",
    )
    return _about_fact(request, person, use, fact, Asked("Correct a fact", "Correct the fact", will, form, does))


@of_caller("retract fact", READ, CORRECT, looking="see fact")
def retract(request: HttpRequest, person: Person, use: Use, fact_id: UUID) -> HttpResponse:
    """A fact is true no more."""

    def does() -> str:
        old = current().retract(person, str(fact_id), by=operator(request))
        return _changed(request, person, use, "Retracted", old)

    will = (
        "It ends now: no call is told it any more.",
        "It stays in the history, with the words it was heard in; to remove those too, forget it instead.",
    )
    asked = Asked("Retract a fact", "Retract the fact", will, ConfirmForm(_typed(request)), does)
    return _about_fact(request, person, use, _fact(person, fact_id), asked)


@of_caller("forget fact", READ, ERASE, looking="see fact")
def forget(request: HttpRequest, person: Person, use: Use, fact_id: UUID) -> HttpResponse:
    """Remove a fact for good."""

    def does() -> str:
        return _receipt(request, use, current().forget(person, str(fact_id), by=operator(request)))

    will = (
        "The fact goes, with the older values that it replaced, their sources and their history.",
        "The words it was heard in are blanked in what was said, and the summaries of those conversations are made anew.",
        "Said before now it does not come back, even if the conversation is read again. Said again later it is news.",
        "The record of the call itself stays, transcript and sound: forget the conversation to remove it.",
    )
    asked = Asked("Forget a fact", "Forget it for good", will, ConfirmForm(_typed(request)), does, is_for_good=True)
    return _about_fact(request, person, use, _fact(person, fact_id), asked)


def _about_fact(request: HttpRequest, person: Person, use: Use, fact: Fact | None, asked: Asked) -> HttpResponse:
    if fact is None:
        use.outcome = "absent"
        messages.error(request, "This caller has no such fact: forgotten, or never there.")
        return HttpResponseRedirect(shown.caller_url(person.id))
    (view,) = factview.views(person, [fact], request.user, timezone.now())
    context = {"view": view}
    return _answer(
        request,
        person,
        use,
        Asked(asked.title, asked.button, asked.will, asked.form, asked.does, asked.is_for_good, context),
    )


def _fact(person: Person, fact_id: UUID) -> Fact | None:
    return next(iter(selectors.facts(person, ids=[fact_id])), None)


# --- conversations and callers ----------------------------------------------------------------------------------------


@of_caller("forget conversation", READ, ERASE, looking="see conversation")
def forget_conversation(request: HttpRequest, person: Person, use: Use, conversation_id: UUID) -> HttpResponse:
    """Remove a conversation for good."""
    with scoped(person.id):
        talk: Any = overview.conversations(person).filter(pk=conversation_id).first()
    if talk is None:
        use.outcome = "absent"
        messages.error(request, "This caller has no such conversation: forgotten, or never there.")
        return HttpResponseRedirect(shown.caller_url(person.id))

    def does() -> str:
        return _receipt(request, use, current().forget_conversation(person, talk.name, by=operator(request)))

    lines = shown.plural(talk.line_count, "line")
    also = "The call goes too: its record, transcript, events and sound."
    will = (
        f"What was said goes: {lines}.",
        *((also,) if talk.origin == Conversation.Origin.CALL else ()),
        "Facts that were heard nowhere else go with it; what they had replaced holds again.",
        "It does not come back, even if it is written or read again.",
    )
    form = ConfirmForm(_typed(request))
    asked = Asked(
        "Forget a conversation", "Forget it for good", will, form, does, is_for_good=True,
        context={"talk": talk, "began": shown.moment(talk.began_at)},
    )  # fmt: skip
    return _answer(request, person, use, asked)


@of_caller("keep for", READ, ERASE, looking="see caller")
def keep(request: HttpRequest, person: Person, use: Use) -> HttpResponse:
    """Say how long what was said is kept."""
    days = Caller.objects.values_list("retention_days", flat=True).get(pk=person.id)
    form = KeepForm(_typed(request), initial={"days": days})

    def does() -> str:
        housekeeping.keep_for(person, form.cleaned_data["days"])
        use.items = 1
        messages.success(request, "Changed. It is looked after every six hours.")
        return shown.caller_url(person.id)

    will = (
        "Conversations that ended longer ago are erased for good, records and sound of calls included, with a receipt.",
        "Facts stay, without the words they were heard in. Summaries go with their conversation.",
    )
    return _answer(
        request, person, use, Asked("How long it is kept", "Keep it that long", will, form, does, is_for_good=True)
    )


@of_caller("erase caller", ERASE, looking="see caller")
def erase(request: HttpRequest, person: Person, use: Use) -> HttpResponse:
    """Remove everything there is of a caller."""
    number = people.number_of(person)
    form = EraseForm(_typed(request), wanted=number[-_SHOWN_CHARS:])

    def does() -> str:
        return _receipt(request, use, current().erase(person, by=operator(request)))

    asked = Asked(
        "Erase a caller", "Erase the caller for good", _erasing(person), form, does, is_for_good=True,
        context={"shown_number": number_for(request, person)},
    )  # fmt: skip
    return _answer(request, person, use, asked)


def _erasing(person: Person) -> tuple[str, ...]:
    """What goes, in figures, and what stays."""
    totals = overview.totals(person)
    plural = shown.plural
    return (
        f"{plural(totals.facts, 'fact')} with sources and history, {totals.current:,} of them holding now.",
        f"{plural(totals.conversations, 'conversation')} with {plural(totals.utterances, 'line')} of what was said.",
        f"Every record of {plural(len(erasure.names_of(person)), 'call or conversation', 'calls and conversations')}: transcript, "
        "events, sound, and what Redis holds. A call in progress is erased when it ends.",
        "Bookings stay under their reference, without the name. Lines of the admin's own log are made anonymous.",
        "The caller's key is destroyed: what backups hold of the texts cannot be opened any more.",
        f"What stays: a tombstone and {plural(totals.receipts + 1, 'receipt')}, by keyed hash. Who calls again is a stranger.",
    )


def _receipt(request: HttpRequest, use: Use, receipt: ErasureRequest) -> str:
    """To the receipt."""
    use.items = sum(count for counts in receipt.receipt["removed"].values() for count in counts.values())
    if receipt.state == receipt.State.VERIFIED:
        messages.success(request, "It is gone: a search found nothing any more. This is the receipt.")
    else:
        messages.warning(request, "It is asked for and will be finished: the receipt says what it waits for.")
    return reverse("admin:memory_erasurerequest_change", args=[receipt.pk])
