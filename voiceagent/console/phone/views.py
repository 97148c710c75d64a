"""Pages and requests of this screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from calls import phrasebook
from calls.core.phrases import phrase_language
from calls.core.state import END_REASONS
from calls.providers.cartesia.rendering import PhraseVoice
from calls.providers.errors import VendorError
from calls.runtime import current
from calls.services.carrier import open_call
from calls.tickets import Ticket
from calls.tracing import id_of, to_text
from voiceagent.console import audit, given, threads
from voiceagent.console.access import microphone, needs
from voiceagent.console.phone import lines, stream

if TYPE_CHECKING:
    from django.http import HttpRequest

    from calls.core.policy import AgentProfile
    from calls.runtime import Runtime

_log = structlog.get_logger(__name__)

MOST_SAID_CHARS = 400
#: A stop within this is what callers take for being listened to.
INTERRUPT_OBJECTIVE_MS = 300
#: What *Interrupt now* says: a shipped recording, so it is the same words every time and needs no vendor.
INTERRUPTION = "ear_moment"


@microphone
@needs("console.test_call")
@require_GET
def phone(request: HttpRequest) -> HttpResponse:
    """The telephone. ``?version=`` puts a version of an agent first."""
    return render(
        request,
        "console/phone/phone.html",
        {
            "lines": lines.choices(request.GET.get("version", "")),
            "objective_ms": INTERRUPT_OBJECTIVE_MS,
            "reasons": END_REASONS,
            "keys": "123456789*0#",
        },
    )


@needs("console.test_call")
@require_GET
def callers(request: HttpRequest) -> JsonResponse:
    """Callers whose memory a test call can read."""
    return JsonResponse({"callers": lines.callers(request.GET.get("q", "")[:80])})


@needs("console.test_call")
@require_POST
async def begin(request: HttpRequest) -> JsonResponse:
    """A test call is about to be made: its id, and the ticket that its stream must show within ``stream.TICKET_S``."""
    wishes = given.texts(request)
    runtime = await current()
    try:
        line = await threads.run(lines.line, wishes.get("line", ""))
        caller = await threads.run(lines.someone, wishes.get("who", ""), wishes.get("caller", ""), request.user)
    except lines.NotPossible as error:
        return _no(str(error))
    call_sid = lines.new_call_sid()
    if not runtime.registry.reserve(call_sid):
        return _no("All lines are taken. Try again when a call has ended.", status=503)
    try:
        await audit.arecord(request, "call.tested", call_sid=call_sid, after={"line": line.number, "as": wishes["who"]})
        runtime.ring(call_sid, caller.number, line.agent.language)
        runtime.fetch_phrases(line.agent)
        trace = runtime.traces.here()
        account = runtime.conf.twilio.account_sid
        ticket = Ticket(
            call_sid, account, caller.number, line.number, line.version_id, line.agent, caller.number, to_text(trace),
            is_test=True, reads_only=caller.reads_only,
        )  # fmt: skip
        token = await stream.issue(runtime.tickets, ticket, request.user)
    except BaseException:
        runtime.registry.release(call_sid)
        raise
    runtime.in_background(
        open_call,
        call_sid=call_sid,
        from_number=caller.number,
        to_number=line.number,
        account_sid=account,
        agent_version_id=line.version_id,
        trace_id=id_of(trace),
        is_test=True,
    )
    return JsonResponse(
        {
            "call_sid": call_sid,
            "account_sid": account,
            "token": token,
            "agent": line.agent.name,
            "language": phrase_language(line.agent.language),
        }
    )


@needs("console.test_call")
@require_POST
async def speak(request: HttpRequest) -> HttpResponse:
    """A sentence in the voice of the line's agent, raw µ-law 8 kHz: what a written script is spoken with."""
    wishes = given.texts(request)
    text = " ".join(wishes.get("text", "").split())
    if not text or len(text) > MOST_SAID_CHARS:
        return _no(f"A sentence has 1 to {MOST_SAID_CHARS} characters.")
    try:
        line = await threads.run(lines.line, wishes.get("line", ""))
        audio = await threads.run(_spoken, await current(), text, line.agent)
    except lines.NotPossible as error:
        return _no(str(error))
    except VendorError as error:
        _log.warning("test_call.no_voice", kind=error.kind)
        return _no("No voice is at hand: the voice vendor does not answer. Use the microphone or a file.", status=502)
    return HttpResponse(audio, content_type="audio/basic")


@needs("console.test_call")
@require_GET
def interruption(request: HttpRequest) -> HttpResponse:
    """What *Interrupt now* says, raw µ-law 8 kHz."""
    language = phrase_language(request.GET.get("language", "en"))
    return HttpResponse(phrasebook.shipped_audio(language, INTERRUPTION), content_type="audio/basic")


def _spoken(runtime: Runtime, text: str, agent: AgentProfile) -> bytes:
    voice = PhraseVoice(runtime.conf.cartesia, runtime.breakers.of("cartesia.tts"))
    try:
        return voice.render(text, agent.voice, agent.language)
    finally:
        voice.close()


def _no(why: str, status: int = 400) -> JsonResponse:
    return JsonResponse({"why": why}, status=status)
