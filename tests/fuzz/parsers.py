"""Every parser that reads from outside, as a table: what it reads, from whom, and what it may raise.

A parser here takes bytes. Whatever they are, it returns or raises one of ``errors`` within ``SLOW_S`` seconds and
``MOST_MEMORY_MB``; anything else is a finding. Corpora lie in ``corpus/<name>``: one file for each input.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from tests.fuzz import console

CORPUS = Path(__file__).resolve().parent / "corpus"
#: An input of a few kilobytes that takes longer hangs, whatever the machine.
SLOW_S = 5
MOST_MEMORY_MB = 2048


@dataclass(frozen=True, slots=True)
class Parser:
    """One row. ``make`` imports what it needs and gives the function of the bytes."""

    name: str
    reads: str
    make: Callable[[], Callable[[bytes], object]]
    errors: Callable[[], tuple[type[BaseException], ...]] = tuple
    most_bytes: int = 4096

    @property
    def corpus(self) -> Path:
        """Where its inputs lie."""
        return CORPUS / self.name

    def ready(self) -> Callable[[bytes], None]:
        """The function, with what it may raise taken away."""
        run, errors = self.make(), self.errors()

        def once(data: bytes) -> None:
            with suppress(*errors):
                run(data)

        return once


def _text(data: bytes) -> str:
    """Any text: what is not UTF-8 becomes halves of surrogate pairs, which JSON can smuggle in as well."""
    return data.decode("utf-8", "surrogateescape")


def _parts(data: bytes, count: int) -> list[bytes]:
    """The input as several: they are told apart by a byte that no text has."""
    return (data.split(b"\xff", count - 1) + [b""] * count)[:count]


# --- the carrier -------------------------------------------------------------------------------------------------


def _stream_message() -> Callable[[bytes], object]:
    from calls.codecs.twilio import decode

    return lambda data: decode(_text(data))


def _bad_message() -> tuple[type[BaseException], ...]:
    from calls.codecs.twilio import BadMessage

    return (BadMessage,)


def _webhook() -> Callable[[bytes], object]:
    """Content type, signature, algorithm, query and body of a request, as ``calls.views.signed`` reads them."""
    from django.test import RequestFactory

    from calls.logkeys import checked_sid
    from calls.providers.twilio.signature import SignatureChecker, Verdict
    from calls.providers.twilio.twiml import say_and_hang_up
    from calls.views import _path_and_query
    from memory.callers import caller_key

    checker = SignatureChecker("t" * 32, "https://voice.example.com:8443", "wss://voice.example.com:8443/twilio/stream")
    factory = RequestFactory()

    def run(data: bytes) -> None:
        kind, signature, settings, query, body = (part for part in _parts(data, 5))
        request = factory.generic("POST", "/twilio/voice", body, kind.decode("latin-1") or "text/plain")
        request.META["QUERY_STRING"] = query.decode("latin-1")
        form = request.POST
        place, given = _path_and_query(request), signature.decode("latin-1")
        verdicts = (
            checker.check_form(place, form, given, settings.decode("latin-1") or None),
            checker.check_upgrade(given, settings.decode("latin-1") or None),
            checker.check_json(place, body, given),
        )
        if Verdict.VALID in verdicts:
            raise AssertionError("a made-up signature counts")
        caller_key(form.get("From", ""), "secret")
        say_and_hang_up(form.get("To", ""))
        with suppress(ValueError):
            checked_sid(form.get("CallSid", ""))

    return run


def _form_errors() -> tuple[type[BaseException], ...]:
    """What the view answers with 400, and what Django does."""
    from django.core.exceptions import BadRequest, SuspiciousOperation
    from django.http.multipartparser import MultiPartParserError

    return BadRequest, SuspiciousOperation, MultiPartParserError, ValueError


def _addresses() -> Callable[[bytes], object]:
    """Host, Origin and X-Forwarded-For of anybody's request, as the outermost layers read them."""
    from memory.limits import source
    from memory.mcp.gate import KnownHosts

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def send(message: Any) -> None:
        pass

    known, loop = KnownHosts(app), _loop()

    def run(data: bytes) -> None:
        host, origin = _parts(data, 2)
        scope = {"type": "http", "path": "/mcp", "method": "POST", "headers": [(b"host", host), (b"origin", origin)]}
        loop.run_until_complete(known(scope, None, send))  # type: ignore[arg-type]
        source(host.decode("latin-1"))

    return run


# --- vendors -----------------------------------------------------------------------------------------------------


def _vendor_error() -> tuple[type[BaseException], ...]:
    from calls.providers.errors import VendorError

    return (VendorError,)


def _ears() -> Callable[[bytes], object]:
    """Messages of the recogniser, a line each, to both kinds of ear."""
    from calls.core.policy import AgentProfile
    from calls.providers.cartesia.client import parse
    from calls.providers.cartesia.errors import from_event
    from calls.providers.cartesia.stt import ManualEar, TurnsEar

    client = _cartesia()

    async def heard(data: bytes) -> None:
        for kind in (TurnsEar, ManualEar):
            told: list[Any] = []
            ear: Any = kind(client, _agent(AgentProfile), told.append)
            ear._up = True
            ear.finalize()
            for line in data.split(b"\n"):
                message = parse(line)
                if message.get("type") == "error":
                    raise from_event(message)
                ear._on_message(message)
            for event in told:
                _kept(event)

    return lambda data: _loop().run_until_complete(heard(data))


def _voice() -> Callable[[bytes], object]:
    """Messages of the voice, a line each, while one epoch is spoken."""
    from calls.core.policy import AgentProfile
    from calls.providers.cartesia.client import parse
    from calls.providers.cartesia.tts import CartesiaVoice

    client = _cartesia()
    sink = SimpleNamespace(audio=lambda *_: None, finished=lambda *_: None)

    async def spoken(data: bytes) -> None:
        told: list[Any] = []
        voice: Any = CartesiaVoice(client, _agent(AgentProfile), sink, told.append)  # type: ignore[arg-type]
        voice.say(1, 1, "Hello there, how can I help?")
        voice.end(1, 1)
        (name,) = voice._contexts
        for line in data.split(b"\n"):
            voice._on_message(parse(line.replace(b"CONTEXT", name.encode())))
        for event in told:
            _kept(event)

    return lambda data: _loop().run_until_complete(spoken(data))


def _model_stream(api: str) -> Callable[[], Callable[[bytes], object]]:
    """Bytes of an answer, through the official SDK."""

    def make() -> Callable[[bytes], object]:
        import httpx2
        from openai import AsyncOpenAI

        from calls.core.commands import AskModel, Message
        from calls.core.policy import AgentProfile
        from calls.providers.openai.chat import ChatStrategy
        from calls.providers.openai.models import traits_of
        from calls.providers.openai.responses import ResponsesStrategy
        from calls.providers.openai.stream import Request

        loop, answer = _loop(), [b""]

        def respond(_: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=answer[0])

        client = AsyncOpenAI(
            api_key="k",
            base_url="http://127.0.0.1:9/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(respond)),
        )
        strategy: Any = {"chat": ChatStrategy, "responses": ResponsesStrategy}[api]()
        ask = AskModel(1, 1, (Message("developer", "Be brief."), Message("user", "Hello")), speculative=False)
        request = Request(_agent(AgentProfile), ask, "gpt-5-nano", traits_of("gpt-5-nano"), 100)

        async def read() -> None:
            async for piece in strategy.stream(client, request):
                if piece is not None:
                    _kept(piece)

        def run(data: bytes) -> None:
            answer[0] = data
            loop.run_until_complete(read())

        return run

    return make


def _openai_errors() -> tuple[type[BaseException], ...]:
    from calls.providers.errors import VendorError
    from calls.providers.openai.errors import VENDOR_EXCEPTIONS

    return VendorError, *VENDOR_EXCEPTIONS


def _distil() -> Callable[[bytes], object]:
    from memory.core import distil

    lines = _said(
        ("user", "My name is Maria Lopez and I am allergic to peanuts."),
        ("assistant", "When shall I call you back?"),
        ("user", "On Friday at five, my number is 555 0123. Never call me before noon."),
    )
    return lambda data: distil.parse(_text(data), lines, model="m")


def _tools() -> Callable[[bytes], object]:
    """Arguments of every function, as the model wrote them."""
    from pydantic import ValidationError

    from calls.core.tooling import keys_of
    from calls.tools import TOOLS

    def run(data: bytes) -> None:
        keys_of(_text(data))
        for tool in TOOLS.values():
            with suppress(ValidationError):
                tool.arguments.model_validate_json(_text(data) or "{}")

    return run


# --- words -------------------------------------------------------------------------------------------------------


def _speech() -> Callable[[bytes], object]:
    """What a caller says, through all that reads it without a model."""
    from memory.core import rules, text, told
    from memory.core.card import quoted
    from memory.core.summary import summarise

    def run(data: bytes) -> None:
        before, said = (_text(part) for part in _parts(data, 2))
        rules.extract(said, said_at=_NOON, before=before)
        rules.extract(said, said_at=_NOON, before=before, language="de")
        summarise(_said(("assistant", before or "Hello?"), ("user", said)))
        quoted(said, 160)
        text.question(said, before)
        told.refusal(said, before)

    return run


def _normal() -> Callable[[bytes], object]:
    """Values of every kind of fact: numbers, days, addresses, names."""
    from memory.core import slots

    def run(data: bytes) -> None:
        for slot in slots.SLOTS:
            slots.reads(slot.name, _text(data))

    return run


# --- files and configuration -------------------------------------------------------------------------------------


def _call_file() -> Callable[[bytes], object]:
    from calls.replay.callfile import read, written
    from calls.replay.log import steps_of, version_of

    def run(data: bytes) -> None:
        found = read(data)
        steps_of(found.record)
        version_of(found.record.lines)
        written(found.record, found.audio, packed=False)

    return run


def _call_file_error() -> tuple[type[BaseException], ...]:
    from calls.replay.callfile import CallFileError

    return (CallFileError,)


def _memory_line() -> Callable[[bytes], object]:
    from memory.services.lines import parsed

    return lambda data: [parsed(line) for line in data.split(b"\n")]


def _bad_line() -> tuple[type[BaseException], ...]:
    from memory.services.checking import Bad

    return (Bad,)


def _env_file() -> Callable[[bytes], object]:
    from voiceagent.dotenv_file import load_dotenv, names_in

    path = _folder() / "env"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_dotenv(path, {})
        names_in(path)

    return run


def _environment() -> Callable[[bytes], object]:
    """Values of all variables: a line for each assignment."""
    from voiceagent.conf import house_conf
    from voiceagent.env import Env

    def run(data: bytes) -> None:
        pairs = (line.split(b"=", 1) for line in data.split(b"\n") if b"=" in line)
        env = Env({_text(name): _text(value) for name, value in pairs if not name.endswith(b"_FILE")})
        house_conf(env)
        env.check()

    return run


def _env_error() -> tuple[type[BaseException], ...]:
    from voiceagent.env import EnvError

    return (EnvError,)


def _policy() -> Callable[[bytes], object]:
    """What an agent's fields hold: edited by people, and by programs that write the table."""
    from calls.policy_fields import policy_from
    from calls.toolbox import specs

    def run(data: bytes) -> None:
        value = json.loads(data)
        with suppress(ValueError):
            specs(value)
        policy_from(value)

    return run


def _policy_error() -> tuple[type[BaseException], ...]:
    return ValueError, RecursionError  # of json; a PolicyError is a ValueError


# --- Redis -------------------------------------------------------------------------------------------------------


def _ticket() -> Callable[[bytes], object]:
    from calls.core.record import build
    from calls.tickets import Ticket

    return lambda data: build(Ticket, json.loads(data))


def _ticket_error() -> tuple[type[BaseException], ...]:
    return ValueError, RecursionError  # a RecordError is a ValueError


def _log_entry() -> Callable[[bytes], object]:
    from calls.services.entries import read

    def run(data: bytes) -> None:
        fields = dict(zip(it := iter(data.split(b"\xff")), it, strict=False))
        for entry in read([(b"1-0", fields)]):
            json.dumps(entry.data, ensure_ascii=False).encode()

    return run


# --- other programs ----------------------------------------------------------------------------------------------


def _mcp() -> Callable[[bytes], object]:
    """A request's body: what the gate looks for in it, and the arguments of every tool."""
    from pydantic import TypeAdapter, ValidationError

    from memory.mcp import shapes
    from memory.mcp.gate import _asked

    kinds = [TypeAdapter(kind) for kind in (shapes.Text, shapes.Word, shapes.Moment, shapes.Id, shapes.Caller)]

    def run(data: bytes) -> None:
        for method, name in _asked(data):
            f"{method} {name}".encode(errors="replace")
        for kind in kinds:
            with suppress(ValidationError):
                kind.validate_json(data)
            with suppress(ValidationError):
                kind.validate_python(_text(data))

    return run


def _jwt() -> Callable[[bytes], object]:
    """Tokens: forged ones, and claims of any shape that the issuer did sign."""
    import jwt as pyjwt
    from cryptography.hazmat.primitives.asymmetric import ec

    from memory.conf import JwtConf
    from memory.mcp import tokens

    key = ec.derive_private_key(7, ec.SECP256R1())
    conf = JwtConf("https://issuer.example.com", "https://issuer.example.com/keys", "https://voice.example.com/mcp")
    client = pyjwt.PyJWKClient(conf.jwks_url)
    client.fetch_data = lambda: {"keys": [_jwk(key.public_key())]}  # type: ignore[method-assign] - without a socket
    tokens._keys = lambda url: client  # type: ignore[assignment]

    def run(data: bytes) -> None:
        with suppress(tokens.TokenRefused):
            tokens._of_jwt(data.decode("latin-1"), conf, 60)  # as the header is read
        with suppress(ValueError, RecursionError, TypeError, pyjwt.PyJWTError):
            claims = json.loads(data)
            fixed = {"iss": conf.issuer, "aud": conf.audience, "exp": 2**33}
            signed = pyjwt.encode({**fixed, **claims}, key, "ES256", headers={"kid": "1"})
            with suppress(tokens.TokenRefused):
                try:
                    tokens._of_jwt(signed, conf, 60)
                except (ValueError, TypeError, RecursionError) as error:
                    raise AssertionError(f"{type(error).__name__}: {error}") from error

    return run


def _jwk(key: Any) -> dict[str, Any]:
    import jwt as pyjwt

    found = pyjwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    return {**found, "kid": "1", "alg": "ES256"}


def _search() -> Callable[[bytes], object]:
    """Query strings of the admin's searches."""
    from django.http import QueryDict
    from django.test import RequestFactory

    from memory import people
    from memory.admin.found import _chosen, _query
    from memory.core.text import question
    from memory.textsearch import any_word, searchable, words_of_any_locale
    from voiceagent.console.call.views import _whole

    factory = RequestFactory()

    def run(data: bytes) -> None:
        request = factory.get("/")
        request.META["QUERY_STRING"] = data.decode("latin-1")
        request.GET = QueryDict(data.decode("latin-1"))  # type: ignore[assignment]
        chosen = _chosen(request)
        people.as_id(chosen.before)
        any_word(searchable(chosen.text))
        words_of_any_locale(searchable(chosen.text), every=True)
        question(chosen.text)
        searchable(chosen.text).encode()
        _query(request, start=None, before=None)
        for _, value in parse_qsl(data.decode("latin-1")):
            _whole(value)

    return run


def _search_error() -> tuple[type[BaseException], ...]:
    from django.core.exceptions import SuspiciousOperation

    return (SuspiciousOperation,)  # Django answers it with 400


def _recording() -> Callable[[bytes], object]:
    """Sound files that a user names."""
    from voiceagent.sandbox.call.recording import read

    path = _folder() / "sound.wav"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return run


def _recording_error() -> tuple[type[BaseException], ...]:
    from voiceagent.sandbox.call.recording import RecordingError

    return (RecordingError,)


# --- shared ------------------------------------------------------------------------------------------------------

_NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@cache
def _folder() -> Path:
    """A folder for parsers that read files; it goes with the process."""
    folder = Path(mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def _cartesia() -> Any:
    """A client that connects to nothing."""
    from calls.conf import CartesiaConf
    from calls.providers.cartesia.client import CartesiaClient

    async def made() -> CartesiaClient:
        return CartesiaClient(CartesiaConf(api_key="k", base_url="http://127.0.0.1:9"))

    return _loop().run_until_complete(made())


def _agent(profile: Any) -> Any:
    return profile(name="a", version=1, instructions="i", voice="v", greeting="g")


def _said(*lines: tuple[str, str]) -> list[Any]:
    from memory.core.values import Said

    return [Said(seq=seq, role=role, text=text, said_at=_NOON) for seq, (role, text) in enumerate(lines)]


def _kept(value: Any) -> None:
    """What is posted to a call goes into its record: it must have a form there."""
    from calls.core.record import dumps

    with suppress(AttributeError):
        dumps(value)


PARSERS: tuple[Parser, ...] = (
    Parser("twilio_stream", "a message of the media stream, from the carrier", _stream_message, _bad_message),
    Parser("twilio_webhook", "form, query and signature of a webhook, from anybody", _webhook, _form_errors),
    Parser("addresses", "`Host` and `Origin` of a request to `/mcp`, from anybody", _addresses),
    Parser("cartesia_stt", "messages of the recogniser", _ears, _vendor_error),
    Parser("cartesia_tts", "messages of the voice", _voice, _vendor_error),
    Parser(
        "openai_chat", "an answer of Chat Completions, as server-sent events", _model_stream("chat"), _openai_errors
    ),
    Parser("openai_responses", "the same of Responses", _model_stream("responses"), _openai_errors),
    Parser("distil", "the model's facts about a conversation", _distil),
    Parser("tool_arguments", "arguments of every function, from the model", _tools),
    Parser("speech", "what a caller says: rules, summary, card, question", _speech),
    Parser("fact_values", "values of every kind of fact", _normal, most_bytes=512),
    Parser("call_file", "a call as a file", _call_file, _call_file_error),
    Parser("memory_line", "lines of `memory_import`", _memory_line, _bad_line),
    Parser("env_file", "`.env`", _env_file, _env_error),
    Parser("environment", "values of all variables", _environment, _env_error),
    Parser("policy", "policy and tools of an agent, as stored", _policy, _policy_error),
    Parser("ticket", "a ticket in Redis", _ticket, _ticket_error),
    Parser("log_entry", "an entry of a call's log in Redis", _log_entry),
    Parser("mcp", "a request to `/mcp` and the tools' arguments", _mcp),
    Parser("jwt", "bearer tokens, forged, and signed with any claims", _jwt),
    Parser("admin_search", "query strings of the admin's searches", _search, _search_error),
    Parser("recording", "a sound file (`make call --wav`)", _recording, _recording_error),
    Parser("calls_query", "the calls list's query, and what the database is asked for it", console.calls_query),
    Parser(
        "calls_view", "addresses and saved views of the console's lists", console.calls_view, console.request_refused
    ),
    Parser(
        "page_request",
        "what operators do to a call, and a test call's script",
        console.page_request,
        console.request_refused,
    ),
    Parser(
        "socket_message", "messages to every socket of the console, and a microphone's frames", console.socket_messages
    ),
    Parser("live_sound", "sound on its way to listeners, and an operator's to a call, in Redis", console.live_sound),
    Parser(
        "console_form",
        "forms of agents, of a caller's entries, of breakers",
        console.console_form,
        console.request_refused,
    ),
)


def named(name: str) -> Parser:
    """The parser of this name. Raises ``SystemExit`` naming those there are."""
    found = [parser for parser in PARSERS if parser.name == name]
    if not found:
        raise SystemExit(f"there is no parser {name!r}: {', '.join(parser.name for parser in PARSERS)}")
    return found[0]


def seeds(parser: Parser) -> Iterator[bytes]:
    """The kept inputs, in the order of their names."""
    for path in sorted(parser.corpus.iterdir()):
        yield path.read_bytes()
