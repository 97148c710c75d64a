"""Where the running server is, and the secrets with which the carrier signs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voiceagent.bootstrap import env_file
from voiceagent.conf import calls_conf
from voiceagent.dotenv_file import load_dotenv
from voiceagent.embedded import profile, state
from voiceagent.env import Env, EnvError
from voiceagent.supervise.claim import RUN_FILE

if TYPE_CHECKING:
    import argparse

# An account for servers elsewhere that check only the signature.
_ANY_ACCOUNT = "AC" + "0" * 32


class NoServerError(Exception):
    """There is nothing to call; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to call. ``url`` is where it is reached, ``public_url`` what it signs with."""

    url: str
    public_url: str
    account_sid: str
    auth_token: str
    rest_url: str | None = None
    redis_url: str | None = None


def find_target(options: argparse.Namespace) -> Target:
    """The server named by ``--url``, else the one that runs on the data folder. Raises :class:`NoServerError`."""
    if options.url:
        return Target(options.url, options.url, options.account_sid or _ANY_ACCOUNT, options.auth_token)
    try:
        return _running(options, dict(os.environ))
    except EnvError as error:
        raise NoServerError(str(error)) from error


def _running(options: argparse.Namespace, environ: dict[str, str]) -> Target:
    load_dotenv(env_file(), environ)
    folder = profile.data_dir(environ)
    running = state.read_json(folder / RUN_FILE)
    if not running.get("url"):
        raise NoServerError(f"No server runs on {folder}. Start one with `make run`, or name another with --url.")
    url = str(running["url"]).rstrip("/")
    public = environ.get("PUBLIC_BASE_URL", "").strip().rstrip("/") or url
    profile.install_defaults(environ)
    env = Env(environ)
    twilio = calls_conf(env).twilio
    env.check()
    return Target(
        url,
        public,
        options.account_sid or twilio.account_sid,
        options.auth_token or twilio.auth_token,
        str(running.get("sandbox_url") or "") or None,
        environ.get("REDIS_URL"),
    )
