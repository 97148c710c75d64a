"""``/2010-04-01/Accounts/…``: calls, their updates, recordings."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from voiceagent.sandbox import mishaps
from voiceagent.sandbox.carrier import twiml
from voiceagent.sandbox.state import STATE, Namespace
from voiceagent.sandbox.twilio.link import EXCHANGE
from voiceagent.sandbox.twilio.resources import CallResource, RecordingResource, new_sid

Form = dict[str, Any]


class RestError(Exception):
    """A refused request."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> web.Response:
        """The error body."""
        body = {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
        headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if self.status == 401 else None
        return web.json_response(body, status=self.status, headers=headers)


def _credentials(request: web.Request) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError("not basic")
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        user, password = "", ""
    if not user or not password:
        raise RestError(401, 20003, "Authenticate")
    return user, password


def _admit(request: web.Request) -> tuple[Namespace, str]:
    """The account's namespace and the token used. Raises :class:`RestError`."""
    user, password = _credentials(request)
    account = request.match_info["account"]
    namespace = request.app[STATE].namespace(account)
    expected = namespace.settings.twilio.auth_token
    if (user.startswith("AC") and user != account) or (expected is not None and password != expected):
        raise RestError(401, 20003, "Authenticate")
    return namespace, password


async def _form(request: web.Request) -> Form:
    """Form fields; one that is repeated becomes a list."""
    fields: Form = {}
    for name, value in parse_qsl((await request.read()).decode(), keep_blank_values=True):
        if name in fields:
            held = fields[name]
            fields[name] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            fields[name] = value
    return fields


def _call(request: web.Request) -> CallResource:
    sid = request.match_info["call"]
    call = request.app[EXCHANGE].calls.get(sid)
    if call is None or call.account_sid != request.match_info["account"]:
        raise RestError(404, 20404, f"The requested resource {request.path} was not found")
    return call


async def _create_call(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    form = await _form(request)
    for name, code in (("To", 21201), ("From", 21213)):
        if not form.get(name):
            raise RestError(400, code, f"No '{name}' number is specified")
    if not (form.get("Url") or form.get("Twiml") or form.get("ApplicationSid")):
        raise RestError(400, 21205, "Url parameter is required.")
    if len(form.get("Twiml", "")) > 4000:
        raise RestError(400, 21218, "Twiml is longer than 4000 characters")
    call = CallResource(
        new_sid("CA"), request.match_info["account"], form["From"], form["To"], "outbound-api", "queued",
        options=form, auth_token=token,
    )  # fmt: skip
    exchange = request.app[EXCHANGE]
    exchange.calls[call.sid] = call
    answer = web.json_response(call.json(), status=201)
    if not await exchange.dial(call):
        call.become("failed")
    namespace.journal.open("twilio.calls.create", form=form, call_sid=call.sid)["outcome"] = "answered"
    return answer


def _check_update(call: CallResource, form: Form) -> None:
    if call.ended:
        raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")
    status = form.get("Status")
    if status not in (None, "completed", "canceled"):
        raise RestError(400, 21218, "Invalid Status: only 'canceled' and 'completed' are accepted")
    if "Twiml" in form and "Url" in form:
        raise RestError(400, 21218, "Url and Twiml are exclusive")
    if "Twiml" in form:
        try:
            verbs = twiml.parse(form["Twiml"])
        except twiml.TwimlError as error:
            raise RestError(400, error.code, str(error)) from None
        if any(verb.action and not urlsplit(verb.action).scheme for verb in verbs):
            raise RestError(400, 15004, "action must be an absolute URL")


async def _update_call(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    call, form = _call(request), await _form(request)
    namespace.journal.open("twilio.calls.update", form=form, call_sid=call.sid)["outcome"] = "answered"
    _check_update(call, form)
    call.auth_token = token
    exchange = request.app[EXCHANGE]
    if form.get("Status") == "completed":
        held = await exchange.push(call.sid, {"type": "update", "status": "completed"})
        if not held:
            call.become("completed")
    elif form.get("Status") == "canceled" and call.status in ("queued", "ringing"):
        await exchange.push(call.sid, {"type": "update", "status": "canceled"})
        call.become("canceled")
    elif "Twiml" in form:
        await exchange.push(call.sid, {"type": "update", "twiml": form["Twiml"]})
    elif "Url" in form:
        await exchange.push(call.sid, {"type": "update", "url": form["Url"], "method": form.get("Method", "POST")})
    return web.json_response(call.json())


async def _fetch_call(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    return web.json_response(_call(request).json())


async def _start_recording(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    call, form = _call(request), await _form(request)
    if call.status != "in-progress":
        raise RestError(400, 21220, "Requested resource is not eligible for recording")
    call.auth_token = token
    recording = RecordingResource(
        new_sid("RE"), call, form.get("RecordingChannels", "mono"), form.get("RecordingTrack", "both"), form
    )
    exchange = request.app[EXCHANGE]
    exchange.recordings[recording.sid] = recording
    await exchange.push(call.sid, {"type": "record"})
    namespace.journal.open("twilio.recordings", form=form, call_sid=call.sid)["outcome"] = "answered"
    return web.json_response(recording.json(), status=201)


def _recording(request: web.Request) -> RecordingResource:
    recording = request.app[EXCHANGE].recordings.get(request.match_info["recording"])
    if recording is None or recording.call.account_sid != request.match_info["account"]:
        raise RestError(404, 20404, f"The requested resource {request.path} was not found")
    return recording


async def _update_recording(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    recording, form = _recording(request), await _form(request)
    if form.get("Status") not in ("paused", "in-progress", "stopped"):
        raise RestError(400, 20001, "Status must be paused, in-progress or stopped")
    if recording.status == "completed":
        raise RestError(400, 21220, "Recording is not in-progress.")
    recording.status = form["Status"]
    return web.json_response(recording.json())


async def _recording_media(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    recording = _recording(request)
    if recording.wav is None:
        raise RestError(404, 20404, "The recording is not ready")
    return web.Response(body=recording.wav, content_type="audio/x-wav")


async def _fetch_recording(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    return web.json_response(_recording(request).json())


async def _delete_recording(request: web.Request, namespace: Namespace, token: str) -> web.Response:
    del request.app[EXCHANGE].recordings[_recording(request).sid]
    return web.Response(status=204)


Operation = Callable[[web.Request, Namespace, str], Awaitable[web.Response]]


def _guarded(operation: Operation, endpoint: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            namespace, token = _admit(request)
            fault = namespace.strike(endpoint, mishaps.OPENING | {"cut"})
            await mishaps.before_headers(request, fault)
            if fault is not None and fault.kind == "cut":
                mishaps.cut(request)
                raise mishaps.CutError
            if fault is not None and fault.kind == "refuse":
                code = int(fault.code) if fault.code else 20000 + fault.status
                raise RestError(fault.status, code, fault.message or "refused by instruction")
            return await operation(request, namespace, token)
        except RestError as error:
            return error.response()

    return handler


def add_routes(app: web.Application) -> None:
    """The addresses of the account API."""
    base = "/2010-04-01/Accounts/{account}"
    recording = base + "/Recordings/{recording}"
    table: list[tuple[str, str, Operation, str]] = [
        ("POST", base + "/Calls.json", _create_call, "twilio.calls.create"),
        ("GET", base + "/Calls/{call}.json", _fetch_call, "twilio.calls.fetch"),
        ("POST", base + "/Calls/{call}.json", _update_call, "twilio.calls.update"),
        ("POST", base + "/Calls/{call}/Recordings.json", _start_recording, "twilio.recordings"),
        ("POST", base + "/Calls/{call}/Recordings/{recording}.json", _update_recording, "twilio.recordings"),
        ("GET", recording + ".json", _fetch_recording, "twilio.recordings"),
        ("GET", recording + ".wav", _recording_media, "twilio.recordings"),
        ("DELETE", recording + ".json", _delete_recording, "twilio.recordings"),
    ]
    for method, path, operation, endpoint in table:
        app.router.add_route(method, path, _guarded(operation, endpoint))
