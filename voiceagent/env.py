"""Typed readers of the environment.

One place reads it, every mistake is collected, and ``Env.check`` raises one ``EnvError`` that names each variable
and says what it should be. A secret may stand in a file named by ``NAME_FILE``. An empty value counts as absent.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MISSING = object()
#: A host name (RFC 1123). Its last part is no number: that would be an address, and a wrong one.
_HOST = re.compile(r"(?:[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*(?![0-9]+$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.IGNORECASE)


class EnvError(Exception):
    """The environment cannot be used; ``problems`` has one sentence per mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("Configuration: " + "\n".join(["cannot start.", *(f"  - {problem}" for problem in problems)]))


class Env:
    """Reads values from a mapping and remembers what was asked for and what was wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        #: Every variable that was looked for, those that name a secret's file included.
        self.names: set[str] = set()
        #: The values of all secrets that were read: what must not be shown.
        self.secrets: set[str] = set()

    def text(self, name: str, default: str | object = _MISSING, expected: str = "a non-empty text") -> str:
        """A non-empty string; required when there is no ``default``."""
        return self._read(name, default, expected, str)

    def word(self, name: str, default: str | object = _MISSING, expected: str = "one word without spaces") -> str:
        """A name that holds no white space, such as a model's."""
        return self._read(name, default, expected, _word)

    def shaped(self, name: str, form: str, expected: str) -> str:
        """A text of this form, a regular expression; always required."""
        return self._read(name, _MISSING, expected, lambda raw: _fits(raw, form))

    def host(self, name: str, default: str) -> str:
        """An IP address or a host name to listen on."""
        return self._read(name, default, "an IP address or a host name", _host)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        expected = f"a whole number from {low} to {high}"
        return self._read(name, default, expected, lambda raw: _in_range(int(raw), low, high))

    def share(self, name: str, default: float) -> float:
        """A part of the whole, from 0 to 1."""
        return self._read(name, default, "a number from 0 to 1", lambda raw: _in_range(float(raw), 0.0, 1.0))

    def flag(self, name: str, default: bool) -> bool:
        """Yes or no."""
        return self._read(name, default, "one of 1, true, yes, on, 0, false, no, off", _flag)

    def choice(self, name: str, default: str, choices: Iterable[str]) -> str:
        """One of ``choices``."""
        allowed = tuple(choices)
        return self._read(name, default, "one of " + ", ".join(allowed), lambda raw: _one_of(raw, allowed))

    def words(self, name: str, default: Iterable[str]) -> list[str]:
        """A comma-separated list."""
        return self._read(name, list(default), "a comma-separated list", _words)

    def networks(self, name: str, default: Iterable[str]) -> list[str]:
        """A comma-separated list of IP addresses and networks (``10.0.0.0/8``); not everybody's, not empty."""
        expected = "IP addresses or networks, with commas between, and not every address"
        return self._read(name, list(default), expected, _networks)

    def url(
        self,
        name: str,
        default: str | object = _MISSING,
        schemes: Iterable[str] = ("http", "https"),
        bare: bool = False,
        query: bool = False,
    ) -> str:
        """An address without a trailing slash, a user or a fragment; ``bare`` refuses a path, since none of it would be used.

        ``query`` admits one: where nothing is put behind the address.
        """
        allowed = tuple(schemes)
        expected = "an address such as " + " or ".join(f"{scheme}://host" for scheme in allowed)
        expected += " without a path" if bare else ""
        return self._read(name, default, expected, lambda raw: _public_url(raw, allowed, bare, query))

    def secret_url(self, name: str, schemes: Iterable[str]) -> str:
        """An address that may hold a password: as ``url`` and ``secret`` together, always required."""
        raw = self.secret(name)
        allowed = tuple(schemes)
        try:
            return _url(raw, allowed, bare=False) if raw else ""
        except ValueError:
            expected = " or ".join(f"{scheme}://host" for scheme in allowed)
            return self._refuse(f"{name} must be an address such as {expected}")

    def path(self, name: str, default: Path) -> Path:
        """A folder or file; ``~`` is the home folder, relative ones are taken from where the process runs."""
        return self._read(name, default, "a path", _path)

    def secret(self, name: str, default: str | object = _MISSING, expected: str = "a non-empty text") -> str:
        """A secret, from ``NAME`` or from the file that ``NAME_FILE`` names. Its value is never put into a message."""
        value = self._secret(name, default, expected)
        self.secrets.update(filter(None, [value]))
        return value

    def token(self, name: str, default: str | object = _MISSING) -> str:
        """A secret that is sent in a header: visible ASCII characters, no spaces."""
        value = self.secret(name, default)
        if not all("!" <= char <= "~" for char in value):
            return self._refuse(f"{name} must be visible ASCII characters without spaces")
        return value

    def _secret(self, name: str, default: str | object, expected: str) -> str:
        self.names.add(f"{name}_FILE")
        if not (file_name := self._environ.get(f"{name}_FILE")):
            return self.text(name, default, expected)
        if self._environ.get(name):
            return self._refuse(f"{name} and {name}_FILE are both set: keep one")
        try:
            content = Path(file_name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            return self._refuse(f"{name}_FILE must name a readable text file: {error}")
        return content or self._refuse(f"{name}_FILE names an empty file: {file_name}")

    def refuse(self, problem: str) -> None:
        """Add a mistake that only a look at several values shows."""
        self.problems.append(problem)

    def check(self) -> None:
        """Raise ``EnvError`` if anything read so far was wrong."""
        if self.problems:
            raise EnvError(list(self.problems))

    def _read(self, name: str, default: T | object, expected: str, parse: Callable[[str], T]) -> T:
        self.names.add(name)
        raw = self._environ.get(name, "").strip()
        if not raw:
            if default is _MISSING:
                return cast("T", self._refuse(f"{name} is missing: it must be {expected}"))
            return cast("T", default)
        if not _is_utf8(raw):
            self._refuse(f"{name} must be UTF-8 text")
            return cast("T", "" if default is _MISSING else default)
        try:
            return parse(raw)
        except ValueError:
            shown = "" if _is_secret(name) or "@" in raw else f", not {raw!r}"  # an address may hold a password
            self._refuse(f"{name} must be {expected}{shown}")
            return cast("T", "" if default is _MISSING else default)

    def _refuse(self, problem: str) -> str:
        """Record a mistake; the empty text stands in for the value, so that reading goes on to the next mistake."""
        self.problems.append(problem)
        return ""


def _is_utf8(text: str) -> bool:
    """Whether the bytes of the environment were: Python keeps others as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_secret(name: str) -> bool:
    # What was meant for the variable beside the account may stand there.
    parts = ("KEY", "TOKEN", "SECRET", "PASSWORD", "DATABASE_URL", "REDIS_URL", "ACCOUNT_SID")
    return any(part in name for part in parts)


def _in_range[N: (int, float)](value: N, low: N, high: N) -> N:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _flag(raw: str) -> bool:
    word = raw.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(raw)
    return word in _TRUE


def _one_of(raw: str, allowed: tuple[str, ...]) -> str:
    if raw not in allowed:
        raise ValueError(raw)
    return raw


def _words(raw: str) -> list[str]:
    return [word.strip() for word in raw.split(",") if word.strip()]


def _word(raw: str) -> str:
    if any(char.isspace() for char in raw):
        raise ValueError(raw)
    return raw


def _fits(raw: str, form: str) -> str:
    if not re.fullmatch(form, raw):
        raise ValueError(raw)
    return raw


def _path(raw: str) -> Path:
    try:
        return Path(raw).expanduser().absolute()
    except RuntimeError as error:  # the home of somebody who is not there
        raise ValueError(raw) from error


def _host(raw: str) -> str:
    if not _HOST.fullmatch(raw):
        ip_address(raw)
    return raw


def _networks(raw: str) -> list[str]:
    words = _words(raw)
    if not words or any("/" in word and ip_network(word).prefixlen == 0 for word in words):
        raise ValueError(raw)
    return [str(ip_network(word)) if "/" in word else str(ip_address(word)) for word in words]


def _public_url(raw: str, schemes: tuple[str, ...], bare: bool, query: bool) -> str:
    """An address that is no secret, so that nothing secret may be in it, and of which every part is used."""
    parts = urlsplit(raw)
    if "@" in parts.netloc or parts.fragment or (parts.query and not query):
        raise ValueError(raw)
    return _url(raw, schemes, bare)


def _url(raw: str, schemes: tuple[str, ...], bare: bool) -> str:
    parts = urlsplit(raw)
    place = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in schemes or not place or any(char.isspace() for char in raw):
        raise ValueError(raw)
    if parts.port is not None and not 0 < parts.port < 65536:
        raise ValueError(raw)
    if bare and (parts.path.strip("/") or parts.query or parts.fragment):
        raise ValueError(raw)
    return raw.rstrip("/")
