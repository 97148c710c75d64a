"""How operators come in: by password, and not by trying many; ``voiceagent.secondfactor`` has what follows.

An attempt is counted before the password is looked at, so that many at once are as many as one after the other; a right
one clears its count. Counted are a user at an address and an address over all users. Not a user over all addresses:
then anybody could lock an operator out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied, ValidationError
from prometheus_client import Counter

from memory import limits
from memory.limits import Rule, source
from memory.people import keyed

if TYPE_CHECKING:
    from django.http import HttpRequest

_log = structlog.get_logger(__name__)

#: Wrong passwords of one user at one address; people behind one address, of all users. ``manage.py unlock`` lifts both.
OF_USER = Rule("login", 5, 900, kept_here=False)
OF_ADDRESS = Rule("login-address", 50, 900, kept_here=False)
LOGINS = Counter("logins", "Attempts to log in", ["outcome"])
_WAIT = "login_wait_s"


class LimitedBackend(ModelBackend):
    """Django's own, for as many attempts as the rules allow. Without a request nobody is counted: a command asks."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The user, or ``None``. Raises ``PermissionDenied`` for too many attempts, which no other backend answers."""
        if request is None or username is None or password is None:
            return super().authenticate(request, username, password, **kwargs)
        limiter, address = limits.current(), source(request.META.get("REMOTE_ADDR", ""))
        pair = keyed("login", username, address)
        if wait_s := limiter.wait_s(OF_ADDRESS, address) or limiter.wait_s(OF_USER, pair):
            setattr(request, _WAIT, wait_s)
            LOGINS.labels("locked").inc()
            _log.warning("login.locked", wait_s=wait_s)
            raise PermissionDenied
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            limiter.clear(OF_USER, pair)
        LOGINS.labels("failed" if user is None else "ok").inc()
        return user

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The same: Django's own would go past it."""
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)


class LoginForm(AuthenticationForm):
    """Django's form, which says that it is too many attempts where it is not the password."""

    def clean(self) -> dict[str, Any]:
        """As the form it is made of."""
        try:
            return super().clean()
        except ValidationError:
            wait_s = getattr(self.request, _WAIT, 0)
            if not wait_s:
                raise
            minutes = -(-wait_s // 60)
            text = f"Too many attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}."
            raise ValidationError(text, code="locked") from None
