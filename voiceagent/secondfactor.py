"""The second factor of people: an app's codes (TOTP), and recovery codes for the day on which the app is lost.

Whoever has given a password alone is nobody yet: every page leads to the code, and no socket opens. django-otp checks the
codes; each wrong one makes the next wait twice as long, and a code counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import django_otp
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import transaction
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from voiceagent.login import LOGINS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase

RECOVERY_CODES = 10
#: Where somebody with a password alone may be: to go on, or to leave.
_OPEN = ("login", "second-factor", "second-factor-setup", "logout")


def is_complete(user: Any) -> bool:
    """Whether a user who is signed in has shown all that is asked for."""
    return not settings.TWO_FACTORS or bool(user.is_verified())


class SecondFactorMiddleware:
    """Leads whoever lacks the second factor to it, from any page. A request without a session costs nothing."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """The page, or the way to the code."""
        if self._is_async:
            return self._later(request)
        response: HttpResponseBase = (_asks(request) and _way(request, request.user)) or self._get_response(request)
        return response

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        if _asks(request):
            request.user = await request.auser()  # the views' own: nobody looks it up again
            if way := _way(request, request.user):
                return way
        response: HttpResponseBase = await self._get_response(request)
        return response


def _asks(request: HttpRequest) -> bool:
    return bool(settings.TWO_FACTORS) and settings.SESSION_COOKIE_NAME in request.COOKIES


def _way(request: HttpRequest, user: Any) -> HttpResponseBase | None:
    if not user.is_authenticated or is_complete(user) or _is_open(request.path_info):
        return None
    query = urlencode({"next": request.get_full_path()})
    return HttpResponseRedirect(f"{reverse('second-factor')}?{query}")


def _is_open(path: str) -> bool:
    return path in {reverse(name) for name in _OPEN} | {reverse("admin:login"), reverse("admin:logout")}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a code: ``device`` accepted it, or one must wait ``wait_s`` seconds, or it is wrong."""

    device: Any = None
    wait_s: int = 0


def has_factor(user: Any) -> bool:
    """Whether somebody has set up an app."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def check(user: Any, code: str) -> Answer:
    """Try a code: six digits are the app's, anything else a recovery code, which is spent by it."""
    code = _plain(code)
    kind = TOTPDevice if code.isdigit() else StaticDevice
    wait_s = 0
    with transaction.atomic():
        for device in kind.objects.select_for_update().filter(user=user, confirmed=True):
            allowed, why = device.verify_is_allowed()
            if not allowed:
                wait_s = max(wait_s, _seconds(why))
            elif device.verify_token(code):
                LOGINS.labels("code_ok").inc()
                return Answer(device)
    LOGINS.labels("code_locked" if wait_s else "code_failed").inc()
    return Answer(wait_s=wait_s)


def _plain(code: str) -> str:
    """What is typed, without the spaces between and whatever no code has."""
    return "".join(letter for letter in code[:40].lower() if letter.isascii() and letter.isalnum())


def _seconds(why: dict[str, Any]) -> int:
    until = why.get("locked_until") or timezone.now()
    return max(1, round((until - timezone.now()).total_seconds()))


def complete(request: HttpRequest, device: Any) -> None:
    """The session has both factors from here on; it gets a new key, since it may do more."""
    request.session.cycle_key()
    django_otp.login(request, device)


def pending(user: Any) -> TOTPDevice:
    """The app that somebody is about to set up; the same until it is confirmed."""
    found, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "app"})
    return found


def confirm(user: Any, code: str) -> TOTPDevice | None:
    """Take the app into use if it shows the right code; it replaces the one before."""
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None or not device.verify_token(_plain(code)):
            return None
        TOTPDevice.objects.filter(user=user, confirmed=True).delete()
        device.confirmed = True
        device.save()
        return device


def new_recovery_codes(user: Any) -> list[str]:
    """Ten codes that each count once; they replace those before."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="recovery", confirmed=True)
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes
