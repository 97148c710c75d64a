"""What the console reads from pages and their sockets, as rows for ``tests.fuzz.parsers``."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

_NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
#: The call that the sockets below are of.
_SID = "CA" + "0" * 32


def calls_query() -> Callable[[bytes], object]:
    """The query of the calls list: read, written, read again, and what the database is asked for it."""
    from voiceagent.console.calls import conditions, parsing

    def run(data: bytes) -> None:
        text = data.decode(errors="replace")
        query = parsing.parse(text)
        again = parsing.parse(parsing.to_text(query))
        if again.terms != query.terms:
            raise AssertionError(f"{parsing.to_text(query)!r} is another query: {again.terms} {query.terms}")
        for found in (conditions.calls_of(query, _NOW), conditions.turns_of(query, _NOW)):
            str(found.query).encode()
        for term in query.terms:
            parsing.term_text(term)
            parsing.parse(parsing.to_text(query.without(term)))
        parsing.parse(text, may=())

    return run


def calls_view() -> Callable[[bytes], object]:
    """The list's address or a saved view's form, the mark of a page, and a view as it is kept, as JSON."""
    from django.http import QueryDict

    from voiceagent.console.calls import listing, params
    from voiceagent.console.health.span import span_of
    from voiceagent.console.trail import filters

    def run(data: bytes) -> None:
        form, _, kept = data.partition(b"\xff")
        given = QueryDict(form)
        view = params.read(given)
        if params.read(QueryDict(view.address[1:].encode())) != view:
            raise AssertionError(f"{view.address} is another view")
        with suppress(listing.ForgedMark):
            listing._read(view.sort, view.after, 2)
        list(span_of(given.dict(), _NOW).columns)
        filters.read(given.dict()).rows()
        with suppress(ValueError, RecursionError):
            columns = json.loads(kept)
            if isinstance(columns, list):  # what a saved view has
                params.columns(columns)

    return run


def request_refused() -> tuple[type[BaseException], ...]:
    """What Django answers with 400."""
    from django.core.exceptions import BadRequest, SuspiciousOperation
    from django.http.multipartparser import MultiPartParserError

    return BadRequest, SuspiciousOperation, MultiPartParserError


def page_request() -> Callable[[bytes], object]:
    """The body of what operators do to a call, of a test call's beginning, and of a sentence of its script."""
    from django.core import signing
    from django.test import RequestFactory

    from calls import desk
    from calls.core.record import dumps
    from voiceagent.console import given
    from voiceagent.console.phone import lines

    factory = RequestFactory()

    def run(data: bytes) -> None:
        kind, _, body = data.partition(b"\xff")
        request = factory.generic("POST", "/", body, kind.decode("latin-1") or "application/json")
        fields = given.texts(request)
        json.dumps(fields, ensure_ascii=False).encode()
        if any("\0" in text for text in fields.values()):
            raise AssertionError("the database does not store this")
        for event in desk.EVENTS.values():
            with suppress(desk.BadRequest):
                dumps(event("ann", fields.get("key", "k"), fields))
        for who in ("anonymous", "scratch", fields.get("who", "")):
            if who != "caller":  # which only the database knows
                with suppress(lines.NotPossible):
                    lines.someone(who, "", SimpleNamespace(pk=1))
        with suppress(signing.BadSignature, ValueError, TypeError):
            signing.loads(fields.get("token", ""), salt="console.phone.ticket", max_age=30)

    return run


def socket_messages() -> Callable[[bytes], object]:
    """Messages of pages, a line each, to every live socket; and frames of an operator's microphone."""
    from calls import control
    from calls.core.record import dumps
    from calls.desk import EVENTS, BadRequest
    from tests.fuzz import parsers
    from voiceagent.console import sockets
    from voiceagent.console.live import LiveConsumer

    kinds = [
        route.callback.consumer_class
        for route in sockets.sockets
        if issubclass(route.callback.consumer_class, LiveConsumer)
    ]
    loop = parsers._loop()
    operator = SimpleNamespace(present=lambda _by: True, gone=lambda _by: None)
    session = SimpleNamespace(operator=operator, desk=SimpleNamespace(status=dict), listening=None)
    here = control.Control(SimpleNamespace(live={_SID: session}))  # type: ignore[arg-type]
    here.loop = loop

    async def told(made: Any, data: bytes) -> None:
        for line in data.split(b"\n"):
            frame, _, text = line.rpartition(b"\xff")
            await made.websocket_receive({"type": "websocket.receive", "text": text.decode("utf-8", "surrogateescape")})
            if frame:
                await made.websocket_receive({"type": "websocket.receive", "bytes": frame})

    def run(data: bytes) -> None:
        control._here.append(here)
        try:
            for kind in kinds:
                loop.run_until_complete(told(_page(kind), data))
        finally:
            control._here.remove(here)
        for action in EVENTS:
            with suppress(BadRequest, ValueError, AttributeError, RecursionError):
                dumps(EVENTS[action]("ann", "k", json.loads(data)))

    return run


def _page(kind: Any) -> Any:
    """A socket of this kind whose user may do everything; what it sends goes nowhere."""

    async def send(message: Any) -> None:
        json.dumps(message.get("text"))

    async def why_not(_permission: str) -> str:
        return ""

    async def snapshot() -> dict[str, Any]:
        """What it shows is the call's, not the message's."""
        return {}

    made = kind()
    user = SimpleNamespace(pk=1, is_authenticated=True, get_username=lambda: "ann")
    made.scope = {"user": user, "url_route": {"kwargs": {"call_sid": _SID}}}
    made.send, made.why_not, made.snapshot = send, why_not, snapshot
    return made


def _raised(error: BaseException) -> None:
    raise error


def live_sound() -> Callable[[bytes], object]:
    """What processes publish of live sound in Redis: batches for listeners, frames of a microphone for the call."""
    from calls.bus import Bus
    from calls.media.tap import BadBatch, decoded
    from calls.microphone import Microphone
    from tests.fuzz import parsers

    heard: list[bytes] = []

    def audio(by: str, frame: bytes) -> bool:
        by.encode()
        heard.append(frame)
        return True

    microphone = Microphone(_SID, None, SimpleNamespace(audio=audio), Bus(_raised))  # type: ignore[arg-type]

    async def frame(data: bytes) -> None:
        microphone.frame(data)

    loop = parsers._loop()

    def run(data: bytes) -> None:
        heard.clear()
        loop.run_until_complete(frame(data))
        with suppress(BadBatch):
            batch = decoded(data)
            if batch.encoded() != data and batch.taken_at_ms == batch.taken_at_ms:
                raise AssertionError("a batch that is another when it is written again")

    return run


def console_form() -> Callable[[bytes], object]:
    """Forms as browsers send them: an agent's policy, tools, phrases and lines; entries of a caller.

    Whether a name or a number is taken only the database knows.
    """
    from django.http import QueryDict

    from calls.forms import AgentForm, AgentNumberForm
    from calls.models import Agent
    from calls.phrase_fields import own_phrases
    from voiceagent.console.callers import forms
    from voiceagent.console.health.views import ReasonForm

    class Form(AgentForm):  # type: ignore[misc, valid-type]
        def validate_unique(self) -> None:
            """Needs rows."""

        def validate_constraints(self) -> None:
            """The same."""

    number = AgentNumberForm.base_fields["number"]
    others = (
        forms.SimpleForm, forms.ForgetForm, forms.CorrectForm, forms.AddForm, forms.PairForm, forms.KeepingForm,
        forms.ProbeForm, ReasonForm,
    )  # fmt: skip

    def run(data: bytes) -> None:
        given = QueryDict(data, mutable=True)
        if given.get("busy_answer") == Agent.BusyAnswer.FORWARD:
            given["overflow_to"] = ""
        form = Form(given, instance=Agent())
        if form.is_valid():
            made = form.instance
            made.turn_policy(), made._tool_specs(), made._texts(), own_phrases(made.phrases)
            json.dumps([made.policy, made.tools, made.idle_texts, made.phrases], allow_nan=False).encode()
        form.errors.get_json_data()
        with suppress(ValidationError):
            number.clean(given.get("number"))
        for kind in others:
            kind(given).errors.get_json_data()

    return run
