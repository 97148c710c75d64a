"""The carrier's webhooks. Each is signed, answered in well under a second, and harmless when sent twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt

from calls import admission, metrics, phrasebook
from calls.agents import agent_for_number
from calls.core.phrases import PHRASES, phrase_language
from calls.logcontext import enter
from calls.logkeys import checked_sid
from calls.models import Agent
from calls.providers.twilio import twiml
from calls.runtime import Runtime, current
from calls.services.carrier import open_call, record_carrier_status, refuse_call
from calls.tickets import Ticket
from calls.tracing import id_of, to_text

if TYPE_CHECKING:
    from calls.agents import Answering
    from calls.core.policy import AgentProfile
    from calls.providers.twilio.signature import Verdict

_log = structlog.get_logger(__name__)

NO_AGENT = "We're sorry, this number is not in service at the moment. Goodbye."
TROUBLE = "We're sorry, we cannot take your call at the moment. Please try again in a few minutes. Goodbye."

#: How long the database may take to say who answers: the caller hears nothing meanwhile, and the carrier gives up at 15 s.
_DATABASE_DEADLINE_S = 2.0

View = Callable[[HttpRequest, Runtime, QueryDict], Coroutine[Any, Any, HttpResponse]]

#: The agents that answered lately, by number: what answers while the database is away.
_last_known: dict[str, Answering] = {}


def signed(view: View) -> Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]:
    """Admit only what the carrier signed; 403 otherwise, before anything else is looked at."""

    @csrf_exempt
    @wraps(view)
    async def checked(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "POST"):
            return HttpResponse(status=405, headers={"Allow": "GET, POST"})
        runtime = await current()
        try:
            form = request.POST
        except (BadRequest, ValueError):
            return HttpResponse("the form could not be read\n", status=400, content_type="text/plain")
        headers = request.headers
        verdict = runtime.signatures.check_form(
            _path_and_query(request),
            form,
            headers.get("X-Twilio-Signature"),
            headers.get("X-Twilio-Webhooks-Signature-Settings"),
        )
        if not verdict.ok:
            return await _not_signed(request, runtime, verdict)
        fields = form if request.method == "POST" else request.GET
        if fields.get("AccountSid", runtime.conf.twilio.account_sid) != runtime.conf.twilio.account_sid:
            _log.warning("webhook.refused", path=request.path, why="foreign_account")
            return HttpResponse("the account is another one\n", status=403, content_type="text/plain")
        return await view(request, runtime, fields)

    return checked


async def _not_signed(request: HttpRequest, runtime: Runtime, verdict: Verdict) -> HttpResponse:
    """Refuse it. Who sends many of these gets no line in the log for each."""
    if wait_s := await admission.unsigned_wait_s(runtime.conf.limits, request.META.get("REMOTE_ADDR", "")):
        return HttpResponse(status=429, headers={"Retry-After": str(wait_s)})
    _log.warning("webhook.refused", path=request.path, why=verdict.value)
    return HttpResponse(f"the signature is {verdict.value}\n", status=403, content_type="text/plain")


@signed
async def voice(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """A call rings: connect it to its agent's stream, or say why not."""
    try:
        call_sid = checked_sid(fields.get("CallSid", ""))
    except ValueError as error:
        return HttpResponse(f"CallSid: {error}\n", status=400, content_type="text/plain")
    trace = runtime.traces.here()
    enter(call_sid, id_of(trace))
    metrics.CALLS_OFFERED.inc()
    from_number, to_number = fields.get("From", ""), fields.get("To", "")
    facts: dict[str, Any] = {
        "call_sid": call_sid,
        "from_number": from_number,
        "to_number": to_number,
        "direction": fields.get("Direction", "inbound"),
        "account_sid": fields.get("AccountSid", ""),
        "trace_id": id_of(trace),
    }
    # A call that we placed has the numbers the other way round: ours is the one it comes from.
    outbound = facts["direction"].startswith("outbound")
    ours, theirs = (from_number, to_number) if outbound else (to_number, from_number)
    if not outbound and await admission.rings_too_often(runtime.conf.limits, theirs):
        return _refuse(runtime, facts, "rate", twiml.busy())
    try:
        answering = await _agent(runtime, ours)
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the caller gets an answer
        _log.error("webhook.no_database", call_sid=call_sid, error=type(error).__name__)
        return _refuse(runtime, facts, "no_database", twiml.say_and_hang_up(TROUBLE))
    if answering is None:
        return _refuse(runtime, facts, "no_agent", twiml.say_and_hang_up(NO_AGENT))
    if not runtime.registry.reserve(call_sid):
        return _no_line(runtime, facts, answering, fields.get("ForwardedFrom", ""))
    agent, version_id = answering.profile, answering.version_id
    runtime.ring(call_sid, theirs, agent.language)
    runtime.fetch_phrases(agent)
    ticket = Ticket(
        call_sid,
        facts["account_sid"],
        from_number,
        to_number,
        version_id,
        agent,
        theirs,
        to_text(trace),
        facts["direction"],
    )
    try:
        token = await runtime.tickets.issue(ticket)
        answer = twiml.connect_stream(
            runtime.conf.twilio.stream_url,
            {"token": token},
            action=f"{_base(runtime)}/twilio/stream-ended",
            status_callback=f"{_base(runtime)}/twilio/stream-status",
        )
    except BaseException:  # a carrier that hung up on its request is one of them: no stream will claim the slot
        runtime.registry.release(call_sid)
        raise
    runtime.in_background(open_call, **facts, agent_version_id=version_id)
    return _twiml(answer)


@signed
async def overflow_ended(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """A caller without a free line was put through elsewhere. Who did not get an answer there hears that all lines are taken."""
    if fields.get("DialCallStatus", "") in ("completed", "answered"):
        return _twiml(twiml.hang_up())
    try:
        answering = await _agent(runtime, fields.get("To", ""))
    except Exception as error:  # noqa: BLE001 - the shipped sentence needs no database
        _log.warning("webhook.no_database", error=type(error).__name__)
        answering = None
    return _twiml(twiml.play_and_hang_up(_busy_phrase(runtime, answering.profile if answering else None)))


async def phrase(request: HttpRequest, name: str) -> HttpResponse:
    """A recorded phrase for ``<Play>``: ``en-busy``, or the digest of an agent's own. Nobody signs for this request.

    A shipped phrase is no secret; an agent's own is found only by who knows what it says and in which voice.
    """
    language, _, key = name.partition("-")
    audio: bytes | None = None
    if key in PHRASES.get(language, {}):
        audio = phrasebook.shipped_audio(language, key)
    elif re.fullmatch("[0-9a-f]{64}", name):
        audio = await (await current()).own_phrase(name)
    if audio is None:
        raise Http404("no such phrase")
    answer = HttpResponse(phrasebook.wav(audio), content_type="audio/wav")
    answer["Cache-Control"] = "public, max-age=86400, immutable"
    return answer


@signed
async def status(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """The carrier's view of a call changed. A caller who gave up frees the slot that was reserved."""
    if fields.get("CallStatus", "") in ("completed", "busy", "failed", "no-answer", "canceled"):
        runtime.registry.release(fields.get("CallSid", ""))
    runtime.in_background(record_carrier_status, {name: str(fields[name]) for name in fields})
    return HttpResponse(status=204)


@signed
async def stream_ended(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """What to do after the stream: nothing, so the call ends."""
    return _twiml(twiml.hang_up())


@signed
async def stream_status(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """The stream began, stopped or failed at the carrier. A failure is a log line with its text."""
    event = fields.get("StreamEvent", "")
    line = _log.warning if event == "stream-error" else _log.info
    line("stream.status", call_sid=fields.get("CallSid", ""), stream_event=event, reason=fields.get("StreamError", ""))
    return HttpResponse(status=204)


@signed
async def recording(request: HttpRequest, runtime: Runtime, fields: QueryDict) -> HttpResponse:
    """The carrier's own recording, where an account makes one: its state is logged, ours is what is archived."""
    _log.info(
        "carrier.recording",
        call_sid=fields.get("CallSid", ""),
        recording_sid=fields.get("RecordingSid", ""),
        status=fields.get("RecordingStatus", ""),
    )
    return HttpResponse(status=204)


async def _agent(runtime: Runtime, number: str) -> Answering | None:
    try:
        async with asyncio.timeout(_DATABASE_DEADLINE_S):
            found = await runtime.in_database(agent_for_number, number)
    except Exception:
        if number in _last_known:
            _log.warning("webhook.agent_from_memory")
            return _last_known[number]
        raise
    if found is None:
        _last_known.pop(number, None)
    else:
        _last_known[number] = found
    return found


def _no_line(runtime: Runtime, facts: dict[str, Any], answering: Answering, forwarded_from: str) -> HttpResponse:
    """The busy answer that the agent has for it: the calls in progress go before this one."""
    short = runtime.registry.no_room()
    why = "drain" if short == "drain" else "overload"
    if why == "overload":
        metrics.CALLS_OVERLOADED.labels(short).inc()
    busy, answer = answering.busy, twiml.busy()
    if facts["direction"].startswith("outbound"):
        answer = twiml.hang_up()  # we have called: there is nobody to be told that our lines are taken
    elif busy.kind == Agent.BusyAnswer.FORWARD and busy.forward_to not in (forwarded_from, facts["from_number"]):
        answer = twiml.dial(busy.forward_to, action=f"{_base(runtime)}/twilio/overflow-ended")
    elif busy.kind != Agent.BusyAnswer.TONE:  # what came back from that number is not sent there again
        answer = twiml.play_and_hang_up(_busy_phrase(runtime, answering.profile))
    return _refuse(runtime, facts, why, answer, short=short)


def _busy_phrase(runtime: Runtime, agent: AgentProfile | None) -> str:
    """The address of what callers hear when all lines are taken."""
    own = phrasebook.own_recordings(agent).get("busy") if agent else None
    return f"{_base(runtime)}/twilio/phrases/{own or phrase_language(agent.language if agent else 'en') + '-busy'}.wav"


def _base(runtime: Runtime) -> str:
    return runtime.conf.twilio.public_base_url.rstrip("/")


def _refuse(runtime: Runtime, facts: dict[str, Any], why: str, answer: str, **more: str) -> HttpResponse:
    metrics.CALLS_REFUSED.labels(why).inc()
    runtime.traces.refuse()
    _log.warning("call.refused", call_sid=facts["call_sid"], why=why, **more)
    runtime.in_background(_record_refusal, facts, why)
    return _twiml(answer)


def _record_refusal(facts: dict[str, Any], why: str) -> None:
    open_call(**facts, agent_version_id=None)
    refuse_call(call_sid=facts["call_sid"], reason=why)


def _twiml(text: str) -> HttpResponse:
    return HttpResponse(text, content_type=twiml.CONTENT_TYPE)


def _path_and_query(request: HttpRequest) -> str:
    """The address as it was requested: encoding and order untouched, as the signature needs it."""
    scope = getattr(request, "scope", {})
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(request.path)
    query = request.META.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path
