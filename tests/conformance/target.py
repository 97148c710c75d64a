"""What is tested and how patient the judges are: from the command line, the environment, or our own server."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PREFIX = "CONFORMANCE_"


@dataclass(frozen=True, slots=True)
class Target:
    """A voice bot. Times in milliseconds.

    ``sandbox`` is where the bot's Twilio account is served, for hang-ups over REST; with the two keys that the bot sends
    to Cartesia and OpenAI there, these can be steered. ``reaction_ms``: the longest from a caller's first sound to the
    ``clear``. ``answer_ms``: the longest from a caller's last sound to the first of an answer. ``resume_ms``: the longest
    silence after a sound that was nothing. ``hangup_ms``: the longest from the goodbye's last sound to the end.
    """

    server: str = ""
    auth_token: str = ""
    account_sid: str = "AC" + "0" * 32
    to: str = "+15005550006"
    notice_to: str = ""
    notice_text: str = ""
    idle_to: str = ""
    idle_ms: float = 0
    capacity: int = 0
    voice_path: str = "/twilio/voice"
    status_path: str = "/twilio/status"
    public_url: str = ""
    sandbox: str = ""
    cartesia_key: str = ""
    openai_key: str = ""
    at_once: int = 4
    greeting_ms: float = 5000
    reaction_ms: float = 1000
    answer_ms: float = 12_000
    resume_ms: float = 3500
    hangup_ms: float = 6000

    @property
    def steered(self) -> bool:
        """Whether the vendors' stand-ins can be told what to do."""
        return bool(self.sandbox and self.cartesia_key and self.openai_key)

    @property
    def quiet_ms(self) -> float:
        """How long a bot that has answered must be quiet, at the least: it may prompt a caller who says nothing."""
        prompts = self.idle_ms and self.idle_to in ("", self.to)
        return min(2000, self.idle_ms * 0.8) if prompts else 2000

    def lacks(self, need: str) -> str:
        """Why a scenario that needs something cannot be run against this bot; empty where it can."""
        return _REASONS[need] if not getattr(self, need) else ""


#: What is known of our own server, its addresses apart. One scenario takes all places, so there are not many.
LOCAL = Target(
    auth_token="t" * 32,
    notice_to="+15005550007",
    notice_text="This conversation will be recorded for training purposes, stay with me until I have told you everything.",
    idle_to="+15005550008",
    idle_ms=2000,
    capacity=12,
    at_once=7,
    greeting_ms=0,
    sandbox="http://127.0.0.1",
    cartesia_key="-",
    openai_key="-",
)

_HELP = {
    "server": "address of the bot; without it our own server is started",
    "auth_token": "the Twilio auth token that the bot knows",
    "account_sid": "the Twilio account that the bot knows",
    "to": "the number called",
    "notice_to": "a number whose greeting may not be interrupted",
    "notice_text": "what that greeting says, where the voice is steered",
    "idle_to": "a number with the idle time of --idle-ms (default: --to)",
    "idle_ms": "how long that bot lets silence last before it speaks up (ms)",
    "capacity": "how many calls the bot takes at once",
    "voice_path": "path of the voice webhook",
    "status_path": "path of the status callback; empty for none",
    "public_url": "the address that the bot believes to have, where it is not --server",
    "sandbox": "address of the vendors' stand-ins that the bot uses (python -m voiceagent.sandbox --engines scripted)",
    "cartesia_key": "the key that the bot sends to the stand-in of Cartesia",
    "openai_key": "the key that the bot sends to the stand-in of OpenAI",
    "at_once": "how many scenarios run at once",
    "greeting_ms": "how long to wait for a greeting; 0 where there is none (ms)",
    "reaction_ms": "longest time from a caller's first sound to the clear (ms)",
    "answer_ms": "longest time from a caller's last sound to an answer (ms)",
    "resume_ms": "longest silence after a cough (ms)",
    "hangup_ms": "longest time from a goodbye's last sound to the end of the call (ms)",
}

_REASONS = {
    "steered": "needs the vendors' stand-ins: pass --sandbox, --cartesia-key and --openai-key",
    "notice_to": "needs a number whose greeting may not be interrupted: pass --notice-to",
    "idle_ms": "needs the bot's idle time: pass --idle-ms",
    "capacity": "needs the number of calls that the bot takes: pass --capacity",
}


def add_options(parser: pytest.Parser) -> None:
    """One option for each field."""
    group = parser.getgroup("conformance", "the bot that tests/conformance is pointed at")
    for field in fields(Target):
        variable = PREFIX + field.name.upper()
        text = f"{_HELP[field.name]} [{variable}; default {field.default!r}]"
        group.addoption(_flag(field.name), dest=variable, default=None, help=text.replace("%", "%%"))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def chosen(config: pytest.Config) -> Target:
    """The bot of the command line, else of the environment; without ``server`` where neither names one."""
    values: dict[str, Any] = {}
    for field in fields(Target):
        variable = PREFIX + field.name.upper()
        given = config.getoption(variable, None)
        given = os.environ.get(variable) if given is None else given
        if given is not None:
            values[field.name] = type(field.default)(given)
    return Target(**values)
