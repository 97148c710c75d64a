"""How a call ends, for those who run it, and why a request failed, in words."""

from __future__ import annotations

import os

import aiohttp


class CallFailedError(Exception):
    """The call did not come about: the webhook or the stream was refused."""


class LinkError(Exception):
    """The sandbox's REST API, which the carrier was told to register calls with, cannot be reached."""


class Over(Exception):
    """The call is over: a way out of nested verbs. ``by`` is ``caller``, ``server`` or ``network``; ``status`` the call's last."""

    def __init__(self, by: str, reason: str, status: str = "completed") -> None:
        super().__init__(reason)
        self.by, self.reason, self.status = by, reason, status


def why(error: BaseException) -> str:
    """What went wrong with a request, as a person would say it; the client's own texts name its internals."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"answered {error.status}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientSSLError):
        cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
        return f"TLS failed: {getattr(cause, 'verify_message', '') or getattr(cause, 'reason', '') or cause}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    # Errors of name look-ups have numbers of their own and come with a text.
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
