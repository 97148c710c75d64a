"""How a call ends, for those who run it."""

from __future__ import annotations


class CallFailedError(Exception):
    """The call did not come about: the webhook or the stream was refused."""


class Over(Exception):
    """The call is over: a way out of nested verbs. ``by`` is ``caller``, ``server`` or ``network``; ``status`` the call's last."""

    def __init__(self, by: str, reason: str, status: str = "completed") -> None:
        super().__init__(reason)
        self.by, self.reason, self.status = by, reason, status
