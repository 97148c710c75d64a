"""Who may come in and do what: for views by a decorator, for sockets at the handshake and at every message."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import iscoroutinefunction
from channels.auth import AuthMiddlewareStack
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.db import SessionStore
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from django.views.decorators.cache import never_cache
from django.views.defaults import page_not_found
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.models import Device
from django_permissions_policy.decorators import permissions_policy_override

from voiceagent.console import threads
from voiceagent.console.roles import PERMISSIONS, ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest, HttpResponse, QueryDict

    View = Callable[..., Any]

_APP = "console."


def may(user: Any, permission: str) -> bool:
    """Whether a user who is signed in may do it. ``permission`` is ``console.<codename>``; raises ``KeyError`` for others."""
    PERMISSIONS[permission.removeprefix(_APP)]
    return bool(user.is_authenticated and user.is_active and user.has_perm(permission))


def granted(user: Any) -> frozenset[str]:
    """The codenames of ``console`` that a user has."""
    held = user.get_all_permissions() if user.is_authenticated and user.is_active else ()
    return frozenset(name.removeprefix(_APP) for name in held if name.startswith(_APP))


async def amay(user: Any, permission: str) -> bool:
    """The same as it is now in the database: what was taken from somebody since the handshake counts."""
    return await threads.run(_may_now, user.pk, permission, "")


SIGNED_OUT: Final = "You are signed out. Sign in again to go on."


async def why_not_here(scope: Mapping[str, Any], permission: str) -> str:
    """Why somebody at this socket may not do it now, in words for them; empty where they may. Their session must still be there:
    who has signed out is nobody in every tab."""
    return await threads.run(_why_not, scope["user"].pk, permission, scope["session"].session_key)


def _why_not(user_id: Any, permission: str, session_key: str | None) -> str:
    if _may_now(user_id, permission, session_key):
        return ""
    gone = session_key is None or (session_key and not SessionStore().exists(session_key))
    return SIGNED_OUT if gone else f"This needs {permission}."


def _may_now(user_id: Any, permission: str, session_key: str | None) -> bool:
    if session_key is None or (session_key and not SessionStore().exists(session_key)):
        return False
    user = get_user_model().objects.filter(pk=user_id).first()
    return user is not None and may(user, permission)


def needs(permission: str) -> Callable[[View], View]:
    """Admit whoever may; others get the login, or a page that says what is missing. For sync and async views.

    Fields come without NULs. What it admits to is kept by no browser and no cache. The view says what it needs as its ``needs``.
    """
    PERMISSIONS[permission.removeprefix(_APP)]

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                request.user = await request.auser()
                refusal = await threads.run(_refused, request, permission)
                return refusal or await view(request, *args, **kwargs)

        else:

            @wraps(view)
            def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                return _refused(request, permission) or view(request, *args, **kwargs)

        guarded: View = never_cache(checked)
        guarded.needs = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def _refused(request: HttpRequest, permission: str) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not may(request.user, permission):
        return forbidden(request, permission)
    request.GET, request.POST = _storable(request.GET), _storable(request.POST)  # type: ignore[assignment]
    return None


def _storable(given: QueryDict) -> QueryDict:
    """The fields without NULs, which nobody types and the database does not store."""
    if not any("\0" in text for _, texts in given.lists() for text in texts):
        return given
    clean = given.copy()
    for name, texts in given.lists():
        clean.setlist(name, [text.replace("\0", "") for text in texts])
    return clean


def forbidden(request: HttpRequest, permission: str) -> HttpResponse:
    """The page that says what is missing, and which role would bring it."""
    codename = permission.removeprefix(_APP)
    context = {
        "what": PERMISSIONS[codename],
        "permission": permission,
        "role": next(role for role, codenames in ROLES.items() if codename in codenames),
    }
    return render(request, "console/forbidden.html", context, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Below the console's address its own page for whoever may come in there; else everybody's."""
    if request.path.startswith("/console/") and may(request.user, "console.view_console"):
        answer = render(request, "console/notfound.html", status=404)
        add_never_cache_headers(answer)
        return answer
    return page_not_found(request, exception)


#: For pages that ask for the microphone: everywhere else no script can.
microphone = permissions_policy_override({**settings.PERMISSIONS_POLICY, "microphone": ["self"]})


def signed_in(app: Any) -> Any:
    """Sockets of pages: the session says who it is, with both factors. It is looked up once, at the handshake."""

    async def complete(scope: Any, receive: Any, send: Any) -> None:
        if not await threads.run(_is_complete, scope):
            scope = {**scope, "user": AnonymousUser()}
        await app(scope, receive, send)

    return AuthMiddlewareStack(complete)


def _is_complete(scope: Mapping[str, Any]) -> bool:
    """Whether the session has shown the second factor, as ``OTPMiddleware`` finds it for requests."""
    if not settings.TWO_FACTORS:
        return True
    shown = scope["session"].get(DEVICE_ID_SESSION_KEY)
    device = Device.from_persistent_id(shown) if shown else None
    return device is not None and device.confirmed and device.user_id == scope["user"].pk
