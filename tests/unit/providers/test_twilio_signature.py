"""The carrier's signature: the published vectors, and every way in which a request may fail to have one."""

import base64
import hashlib
import hmac

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from calls.providers.twilio.signature import SignatureChecker, Verdict

TOKEN = "12345"
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675310",
    "Digits": "1234",
    "From": "+14158675310",
    "To": "+18005551212",
}
JSON_QUERY = "/cb?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def checker(base: str = "https://example.com", stream: str = "wss://example.com/ws/media") -> SignatureChecker:
    return SignatureChecker(TOKEN, base, stream)


def sign(text: str, algorithm: str = "sha1") -> str:
    return base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), algorithm).digest()).decode()


# --- the vectors ------------------------------------------------------------------------------------------------


def test_form_vector() -> None:
    check = checker().check_form
    assert check("/myapp.php?foo=1&bar=2", FORM, "L/OH5YylLD5NRKLltdqwSvS0BnU=") is Verdict.VALID
    assert check("/myapp.php?bar=2&foo=1", FORM, "L/OH5YylLD5NRKLltdqwSvS0BnU=") is Verdict.MISMATCH


@pytest.mark.parametrize("signature", ["mmqB9WIyoKjSetFWGe6ZCXH1LLQ=", "E28mjIejV/e6H8U7UbqPpBv8yis="])
@pytest.mark.parametrize("stream", ["wss://example.com/ws/media", "wss://example.com/ws/media/"])
def test_upgrade_vectors_with_and_without_a_slash(signature: str, stream: str) -> None:
    assert checker(stream=stream).check_upgrade(signature).ok


def test_an_upgrade_signed_over_https_is_not_one_over_wss() -> None:
    assert checker().check_upgrade("nsZbNcOHUUULsDdEq6omRXrhEwQ=") is Verdict.MISMATCH


def test_json_vector() -> None:
    check = checker().check_json
    assert check(JSON_QUERY, b'{"a":1}', "1GgN8nEpt8zPd8zDAaVw1GrLTTo=") is Verdict.VALID
    assert check(JSON_QUERY, b'{"a":2}', "1GgN8nEpt8zPd8zDAaVw1GrLTTo=") is Verdict.WRONG_BODY
    assert check(JSON_QUERY, b'{"a":1}', "1GgN8nEpt8zPd8zDAaVw1GrLTTp=") is Verdict.MISMATCH


@pytest.mark.parametrize("base", ["https://example.com:8443", "https://example.com"])
def test_port_vectors(base: str) -> None:
    without = checker(base).check_form("/voice", {}, "D4QuouVN9rnoGVWTDp6pJurE7gw=")
    with_port = checker(base).check_form("/voice", {}, "/+aYuMQ5hbouOt3WMR6Bl6PBFxI=")
    assert without.ok
    assert with_port.ok == base.endswith(":8443")


# --- the rules --------------------------------------------------------------------------------------------------


def test_a_repeated_name_counts_each_different_value_once_and_in_order() -> None:
    params = QueryDict("b=2&a=z&a=y&a=z&Empty=&plus=a%2Bb+c", encoding="utf-8")
    signature = sign("https://example.com/voiceEmptyayazb2plusa+b c")
    assert checker().check_form("/voice", params, signature).ok


def test_a_get_signs_its_address_alone() -> None:
    assert checker().check_form("/voice?a=1%20x&b=", {}, sign("https://example.com/voice?a=1%20x&b=")).ok


def test_names_are_sorted_by_code_point() -> None:
    assert checker().check_form("/v", {"a": "1", "B": "2", "é": "3"}, sign("https://example.com/vB2a1é3")).ok


@pytest.mark.parametrize("signed", ["https://example.com/v", "https://example.com:443/v"])
def test_the_standard_port_may_be_signed_or_not(signed: str) -> None:
    assert checker("https://example.com").check_form("/v", {}, sign(signed)).ok
    assert checker("https://example.com:443").check_form("/v", {}, sign(signed)).ok


def test_plain_http_keeps_its_port() -> None:
    local = checker("http://127.0.0.1:8000/", "ws://127.0.0.1:8000/twilio/stream")
    assert local.check_form("/twilio/voice", {"a": "b"}, sign("http://127.0.0.1:8000/twilio/voiceab")).ok
    assert local.check_upgrade(sign("ws://127.0.0.1:8000/twilio/stream")).ok


def test_an_ipv6_host_works_with_and_without_its_port() -> None:
    local = checker("http://[::1]:8000")
    assert local.check_form("/v", {}, sign("http://[::1]:8000/v")).ok
    assert local.check_form("/v", {}, sign("http://[::1]/v")).ok


def test_the_newer_variant_with_sha256() -> None:
    settings = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
    signature = sign("https://example.com/va1", "sha256")
    assert checker().check_form("/v", {"a": "1"}, signature, settings).ok
    assert not checker().check_form("/v", {"a": "1"}, signature).ok
    assert not checker().check_form("/v", {"a": "1"}, signature, "algorithm=HMAC_MD5").ok


# --- the guards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [None, ""])
def test_a_missing_header_is_missing(signature: str | None) -> None:
    assert checker().check_form("/v", {}, signature) is Verdict.MISSING
    assert checker().check_json(JSON_QUERY, b"", signature) is Verdict.MISSING
    assert checker().check_upgrade(signature) is Verdict.MISSING


def test_a_json_body_without_its_hash_in_the_address_is_wrong() -> None:
    assert checker().check_json("/cb", b'{"a":1}', sign("https://example.com/cb")) is Verdict.WRONG_BODY


def test_an_upper_case_hash_is_not_the_carriers() -> None:
    path = "/cb?bodySHA256=" + hashlib.sha256(b"x").hexdigest().upper()
    assert checker().check_json(path, b"x", sign(f"https://example.com{path}")) is Verdict.WRONG_BODY


def test_another_token_does_not_fit() -> None:
    other = SignatureChecker("54321", "https://example.com", "wss://example.com/ws/media")
    assert other.check_form("/myapp.php?foo=1&bar=2", FORM, "L/OH5YylLD5NRKLltdqwSvS0BnU=") is Verdict.MISMATCH


def test_values_that_are_no_text_of_this_world_do_not_raise() -> None:
    assert checker().check_form("/v", {"a": "\ud800"}, "x") is Verdict.MISMATCH


def test_a_configured_address_with_a_broken_port_does_not_raise() -> None:
    assert checker("https://example.com:x").check_form("/v", {}, "x") is Verdict.MISMATCH


@given(signature=st.text(max_size=300), path=st.text(max_size=50), value=st.text(max_size=20))
def test_no_forgery_passes_and_none_raises(signature: str, path: str, value: str) -> None:
    assert not checker().check_form(f"/{path}", {"a": value}, signature).ok
    assert not checker().check_upgrade(signature).ok
    assert not checker().check_json(f"/{path}", value.encode(), signature).ok
