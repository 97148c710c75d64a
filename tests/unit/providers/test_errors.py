"""Every exception of every SDK has one stable kind."""

import json

import aiohttp
import httpx2
import openai
import pytest
from cartesia import AuthenticationError as CartesiaAuthenticationError
from httpx import Request, Response
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import Close
from websockets.http11 import Response as SocketResponse

from calls.providers.cartesia import errors as cartesia_errors
from calls.providers.errors import KINDS, VendorError, kind_of_status
from calls.providers.openai import errors as openai_errors
from calls.providers.twilio import errors as twilio_errors


def test_a_kind_must_be_known() -> None:
    with pytest.raises(ValueError, match="'weird' is not a kind"):
        VendorError("weird", "openai")


def test_the_text_names_vendor_kind_status_and_detail() -> None:
    assert str(VendorError("quota", "openai", status=429, detail="no credit")) == "openai: quota (429): no credit"
    assert str(VendorError("cut", "cartesia")) == "cartesia: cut"


def test_retryable_follows_the_kind_unless_said_otherwise() -> None:
    assert VendorError("server", "openai").retryable
    assert not VendorError("quota", "openai").retryable
    assert VendorError("quota", "openai", retryable=True).retryable


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_has_a_kind(status: int) -> None:
    kind = kind_of_status(status)
    assert kind in KINDS
    assert KINDS[kind] or status < 500


def upgrade(status: int, body: object = b"") -> InvalidStatus:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return InvalidStatus(SocketResponse(status, "", Headers(), raw))


CARTESIA: list[tuple[Exception, str, int | None]] = [
    (upgrade(401), "auth", 401),
    (upgrade(429, {"error_code": "concurrency_limited"}), "rate_limited", 429),
    (upgrade(403, {"error_code": "quota_exceeded", "message": "no credit"}), "quota", 403),
    (upgrade(400, {"error_code": "model_not_found"}), "not_found", 400),
    (upgrade(502, b"<html>"), "server", 502),
    (upgrade(503, [1]), "overloaded", 503),
    (TimeoutError(), "timeout", None),
    (ConnectionRefusedError(), "refused", None),
    (InvalidMessage("x"), "refused", None),
    (InvalidURI("x", "y"), "bad_request", None),
    (PayloadTooBig(9, 5), "garbage", None),
    (ConnectionClosedError(Close(1011, ""), None), "cut", 1011),
    (ConnectionClosedError(None, None), "cut", None),
    (
        CartesiaAuthenticationError("no", response=Response(401, request=Request("GET", "http://x")), body=None),
        "auth",
        401,
    ),
]


@pytest.mark.parametrize(("error", "kind", "status"), CARTESIA, ids=lambda value: str(value)[:40])
def test_cartesia(error: Exception, kind: str, status: int | None) -> None:
    assert isinstance(error, cartesia_errors.VENDOR_EXCEPTIONS)
    found = cartesia_errors.classify(error)
    assert (found.kind, found.status, found.vendor) == (kind, status, "cartesia")
    assert cartesia_errors.classify(found) is found


def test_cartesia_events_without_a_status_are_unknown_or_named() -> None:
    assert cartesia_errors.from_event({"type": "error"}).kind == "unknown"
    assert cartesia_errors.from_event({"type": "error", "error_code": ["x"], "status_code": "400"}).kind == "unknown"
    assert cartesia_errors.from_event({"error_code": "model_sunsetted"}).kind == "gone"


def answer(cls: type[openai.APIStatusError], status: int, code: str | None = None, **headers: str) -> Exception:
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://x"), headers=headers)
    return cls("no", response=response, body={"code": code, "type": code})


REQUEST = httpx2.Request("POST", "http://x")
OPENAI: list[tuple[Exception, bool, str]] = [
    (answer(openai.RateLimitError, 429, "rate_limit_exceeded"), False, "rate_limited"),
    (answer(openai.RateLimitError, 429, "insufficient_quota"), False, "quota"),
    (answer(openai.RateLimitError, 429, "credit_balance_exhausted"), False, "quota"),
    (answer(openai.AuthenticationError, 401), False, "auth"),
    (answer(openai.NotFoundError, 404, "model_not_found"), False, "not_found"),
    (answer(openai.BadRequestError, 400, "unsupported_value"), False, "bad_request"),
    (answer(openai.InternalServerError, 500), False, "server"),
    (answer(openai.InternalServerError, 503, "server_is_overloaded"), False, "overloaded"),
    (openai.APITimeoutError(REQUEST), False, "timeout"),
    (openai.APITimeoutError(REQUEST), True, "hung"),
    (openai.APIConnectionError(request=REQUEST), False, "refused"),
    (openai.APIConnectionError(request=REQUEST), True, "cut"),
    (openai.APIError("x", REQUEST, body={"code": "rate_limit_exceeded"}), True, "rate_limited"),
    (openai.APIError("x", REQUEST, body=None), True, "server"),
    (json.JSONDecodeError("x", "y", 0), True, "garbage"),
    (openai.OpenAIError("x"), False, "unknown"),
]


@pytest.mark.parametrize(("error", "streaming", "kind"), OPENAI, ids=lambda value: str(value)[:40])
def test_openai(error: Exception, streaming: bool, kind: str) -> None:
    assert isinstance(error, openai_errors.VENDOR_EXCEPTIONS)
    assert openai_errors.classify(error, streaming=streaming).kind == kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_openai_says_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    error = answer(openai.RateLimitError, 429, "rate_limit_exceeded", **headers)
    assert openai_errors.classify(error, streaming=False).retry_after_s == seconds


def rest(status: int, code: int | None) -> TwilioRestException:
    return TwilioRestException(status, "/x", "no", code)


TWILIO: list[tuple[Exception, str]] = [
    (rest(404, 20404), "gone"),
    (rest(404, None), "gone"),
    (rest(400, 21220), "gone"),
    (rest(400, 21201), "bad_request"),
    (rest(401, 20003), "auth"),
    (rest(429, 20429), "rate_limited"),
    (rest(500, None), "server"),
    (TwilioServiceException("about:blank", "no", 400, 21220), "gone"),
    (TimeoutError(), "timeout"),
    (aiohttp.ServerDisconnectedError(), "cut"),
    (aiohttp.InvalidURL("x"), "bad_request"),
    (ConnectionResetError(), "cut"),
    (json.JSONDecodeError("x", "y", 0), "garbage"),
    (TwilioException("x"), "unknown"),
]


@pytest.mark.parametrize(("error", "kind"), TWILIO, ids=lambda value: str(value)[:40])
def test_twilio(error: Exception, kind: str) -> None:
    assert isinstance(error, twilio_errors.VENDOR_EXCEPTIONS)
    assert twilio_errors.classify(error).kind == kind
