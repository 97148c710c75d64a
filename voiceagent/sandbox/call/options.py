"""The options of ``make call``. What cannot work is refused here, before anything rings."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voiceagent.sandbox.carrier.network import DEFAULT_CALLED, DEFAULT_CALLER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# One process speaks and hears for so many callers in time.
MOST_CALLS = 200
LONGEST_WAIT_MS = 60_000

_NUMBER = "a telephone number such as +14155550123: a plus, the country's code, digits without spaces"
_KEYS = "keys: 0 to 9, *, #, A to D, and w for a pause of half a second"
_ADDRESS = "an address such as https://voice.example.com"


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,9}", text) and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")

    return read


def _fitting(pattern: str, what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return read


def _speakable(text: str) -> str:
    if any(character.isalnum() for character in text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} has no word to say")


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if fits and not parts.query and not parts.fragment:
        return text.rstrip("/")
    raise argparse.ArgumentTypeError(f"{text!r} is not {_ADDRESS}")


def parser() -> argparse.ArgumentParser:
    """The options, each with what it admits."""
    options = argparse.ArgumentParser(
        prog="make call ARGS='…'",
        description="Place a simulated phone call to the running server, with the bundled conversation or your own.",
        epilog="Exit code: 0 the call went well, 1 it went wrong, 2 it could not be placed.",
        allow_abbrev=False,
    )
    what = options.add_mutually_exclusive_group()
    what.add_argument("--wav", nargs="+", type=Path, metavar="FILE", help="say these recordings, one after each answer")
    what.add_argument("--text", nargs="+", type=_speakable, metavar="TEXT", help="say these lines with the local voice")
    options.add_argument(
        "--barge-in-after", type=_whole(0, LONGEST_WAIT_MS), metavar="MS",
        help="interrupt each answer when it has lasted so long, with the next line; after a single line with a bundled one",
    )  # fmt: skip
    options.add_argument(
        "--dtmf", type=_fitting("(?=.*[^w])[0-9*#A-Dw]+", _KEYS), metavar="KEYS",
        help="press these keys after the last line (0-9, *, #, A-D; w pauses half a second)",
    )  # fmt: skip
    options.add_argument(
        "--calls", type=_whole(1, MOST_CALLS), default=1, metavar="N", help=f"so many calls at once, up to {MOST_CALLS}"
    )
    number = _fitting(r"\+[1-9][0-9]{1,14}", _NUMBER)
    options.add_argument(
        "--from", dest="caller", type=number, default=DEFAULT_CALLER, metavar="NUMBER", help="who calls: %(default)s"
    )
    options.add_argument(
        "--to", dest="called", type=number, default=DEFAULT_CALLED, metavar="NUMBER", help="who is called: %(default)s"
    )
    options.add_argument("--url", type=_address, help="a server elsewhere: its PUBLIC_BASE_URL; needs --auth-token")
    options.add_argument(
        "--auth-token", type=_fitting(r"\S+", "a token"), metavar="TOKEN",
        help="its TWILIO_AUTH_TOKEN, which signs the requests",
    )  # fmt: skip
    options.add_argument(
        "--account-sid", type=_fitting("AC[0-9a-fA-F]{32}", "an account's id: AC and 32 hexadecimal digits"),
        metavar="SID", help="its TWILIO_ACCOUNT_SID",
    )  # fmt: skip
    return options


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line. Leaves with code 2 and a sentence where they cannot be used."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.dtmf and not (options.wav or options.text) and options.barge_in_after is not None:
        reader.error("argument --barge-in-after: needs --wav or --text, keys alone interrupt nothing")
    if options.url and not options.auth_token:
        reader.error("argument --url: needs --auth-token, the webhook must be signed with the account's token")
    return options
