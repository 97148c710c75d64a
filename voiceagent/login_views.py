"""Pages on which people come in, show their second factor, set it up, and leave."""

from __future__ import annotations

from base64 import b32encode
from typing import TYPE_CHECKING, Any

import segno
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from voiceagent import secondfactor
from voiceagent.console import audit
from voiceagent.login import LoginForm

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@method_decorator([sensitive_post_parameters(), csrf_protect, never_cache], name="dispatch")
class Login(LoginView):
    """User name and password. ``next_page`` is where it leads without a ``next``."""

    form_class = LoginForm
    template_name = "login/login.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The form; for whoever is in already, the way on, unless that is what their account lacks."""
        user = request.user
        is_admin = self.get_success_url().startswith(resolve_url("admin:index"))
        if user.is_authenticated and (not is_admin or user.is_staff):
            return HttpResponseRedirect(self.get_success_url())
        return super().get(request, *args, **kwargs)


login = Login.as_view(next_page="console:board")
admin_login = Login.as_view(next_page="admin:index")
logout = LogoutView.as_view(next_page="login")


def _next(request: HttpRequest) -> str:
    asked = request.POST.get("next", request.GET.get("next", ""))
    fits = url_has_allowed_host_and_scheme(asked, {request.get_host()}, require_https=request.is_secure())
    return asked if fits else resolve_url(settings.LOGIN_REDIRECT_URL)


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """The code after the password."""
    onward = _next(request)
    if secondfactor.is_complete(request.user):
        return HttpResponseRedirect(onward)
    if not secondfactor.has_factor(request.user):
        return HttpResponseRedirect(f"{resolve_url('second-factor-setup')}?{request.GET.urlencode()}")
    error = ""
    if request.method == "POST":
        answer = secondfactor.check(request.user, request.POST.get("code", ""))
        if answer.device is not None:
            secondfactor.complete(request, answer.device)
            return HttpResponseRedirect(onward)
        error = _wrong(answer.wait_s)
    return render(request, "login/code.html", {"next": onward, "error": error})


def _wrong(wait_s: int) -> str:
    if not wait_s:
        return _("This code is wrong or was used before.")
    return ngettext(
        "Too many wrong codes. Try again in %(count)d second.",
        "Too many wrong codes. Try again in %(count)d seconds.",
        wait_s,
    ) % {"count": wait_s}


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Set up an app, or change it. Who has one must have shown it: a password alone replaces none."""
    user = request.user
    had = secondfactor.has_factor(user)
    if had and not user.is_verified():  # type: ignore[union-attr]
        return HttpResponseRedirect(f"{resolve_url('second-factor')}?{request.GET.urlencode()}")
    error = ""
    if request.method == "POST":
        device = secondfactor.confirm(user, request.POST.get("code", ""))
        if device is not None:
            audit.record(request, "factor.enrolled")
            secondfactor.complete(request, device)
            codes = secondfactor.new_recovery_codes(user)
            return render(request, "login/recovery.html", {"codes": codes, "next": _next(request)})
        error = _("This code is wrong. Is the clock of your phone right?")
    device = secondfactor.pending(user)
    context = {
        "next": _next(request),
        "error": error,
        "had": had,
        "secret": b32encode(device.bin_key).decode(),
        "picture": _picture(device.config_url),
    }
    return render(request, "login/setup.html", context)


def _picture(address: str) -> str:
    """The code as SVG without styles. Made here: a secret is sent to no service that draws."""
    drawn = segno.make(address, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff")
    return mark_safe(drawn)  # noqa: S308 - made of numbers alone
