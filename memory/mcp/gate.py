"""The door of ``/mcp``: from where, with which token, how often, how much, and with which scope. What passes is served.

Cheapest first: names of hosts against DNS rebinding, then the token, its rate, the size of the body, and only then what
is asked. Refusals follow RFC 6750 and name the metadata of RFC 9728; reasons are words for the token's holder.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from memory import hosts, limits
from memory.mcp.grants import GrantedToken, Scope
from memory.mcp.tokens import TokenRefused, TokenUnchecked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp.server.auth.provider import TokenVerifier
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Request

_log = structlog.get_logger(__name__)

#: An import of a few thousand lines; the same for everything else.
MOST_BODY_BYTES = 1024 * 1024
_BEARER = "bearer "


class KnownHosts:
    """ASGI middleware: 421 for a host that this server does not go by, 403 for a page of another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve what was sent to us by name, and by no foreign page."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        refusal: Response | None = None
        if not hosts.is_ours(headers.get("host", "")):
            refusal = PlainTextResponse("this server has no such name: see ALLOWED_HOSTS\n", 421)
        elif origin is not None and not hosts.is_own_page(origin):
            refusal = PlainTextResponse("pages of another origin may not ask this server\n", 403)
        await (refusal or self._app)(scope, receive, send)


class BodyLimit(RequestBodyLimitMiddleware):
    """ASGI middleware: 413 for a larger body; what passes has its body in one piece."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, MOST_BODY_BYTES)


class Gate:
    """ASGI middleware: who may ask, and how often. The application behind it finds a ``GrantedToken`` in the user.

    ``needs(method, name)`` is the scope that a request of the protocol needs, ``None`` where any token will do;
    ``refused(token, method, name)`` is awaited where the token lacks it.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: TokenVerifier,
        metadata_url: str,
        needs: Callable[[str, str], Scope | None],
        refused: Callable[[GrantedToken, str, str], Any],
    ) -> None:
        self._app = AuthContextMiddleware(BodyLimit(self._with_scope(app)))
        self._verifier = verifier
        self._metadata_url = metadata_url
        self._needs = needs
        self._refused = refused

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve a request whose token counts and is within its rate."""
        secret = Headers(scope=scope).get("authorization", "")
        if not secret.lower().startswith(_BEARER):
            refusal = self._refusal(401, "invalid_token", "a bearer token is needed: Authorization: Bearer …")
            await refusal(scope, receive, send)
            return
        try:
            token = await self._verifier.verify_token(secret[len(_BEARER) :].strip())
        except TokenRefused as reason:
            _log.info("mcp.token_refused", reason=str(reason))
            await self._refusal(401, "invalid_token", str(reason))(scope, receive, send)
            return
        except TokenUnchecked as reason:
            _log.warning("mcp.token_unchecked", reason=str(reason))
            refusal = self._refusal(503, "temporarily_unavailable", str(reason), {"Retry-After": "5"})
            await refusal(scope, receive, send)
            return
        assert isinstance(token, GrantedToken)  # noqa: S101 - what our verifier gives
        grant = token.grant
        rule = limits.Rule("mcp", grant.rate_per_minute)
        if wait_s := await limits.current().wait_s_async(rule, grant.rate_key):
            _log.info("mcp.rate_exceeded", by=grant.by)
            text = f"more than {grant.rate_per_minute} requests a minute: try again in {wait_s} s"
            refusal = self._refusal(429, "too_many_requests", text, {"Retry-After": str(wait_s)})
            await refusal(scope, receive, send)
            return
        await self._app({**scope, "user": AuthenticatedUser(token)}, receive, send)

    def _with_scope(self, app: ASGIApp) -> ASGIApp:
        async def checked(scope: Request, receive: Receive, send: Send) -> None:
            message = await receive()
            token: GrantedToken = scope["user"].access_token
            for method, name in _asked(message.get("body", b"")):
                needed = self._needs(method, name)
                if needed is None or needed in token.grant.scopes:
                    continue
                await self._refused(token, method, name)
                text = f"this needs a token with the scope {needed}"
                await self._refusal(403, "insufficient_scope", text, scope=needed)(scope, receive, send)
                return
            first = [message]

            async def replay() -> Any:
                return first.pop() if first else await receive()

            await app(scope, replay, send)

        return checked

    def _refusal(
        self, status: int, error: str, text: str, headers: dict[str, str] | None = None, **challenge: str
    ) -> Response:
        """An OAuth error; 401 and 403 say in their challenge where to learn how to get a token."""
        headers = dict(headers or {})
        if status in (401, 403):
            parts = {
                "error": error,
                "error_description": text,
                **challenge,
                "resource_metadata": self._metadata_url,
            }
            headers["WWW-Authenticate"] = "Bearer " + ", ".join(f'{key}="{_quotable(v)}"' for key, v in parts.items())
        return JSONResponse({"error": error, "error_description": text}, status, headers)


def _quotable(text: str) -> str:
    """``text`` as a quoted string of a header may have it (RFC 6750, section 3)."""
    return text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


def _asked(body: bytes) -> Iterable[tuple[str, str]]:
    """Method and name of each request in a body; nothing of one that makes no sense, which the SDK then says."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return
    for message in content if isinstance(content, list) else [content]:
        if isinstance(message, dict):
            params = message.get("params")
            name = params.get("name") if isinstance(params, dict) else ""
            yield str(message.get("method", "")), str(name or "")
