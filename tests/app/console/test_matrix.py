"""Every address and every socket message of the console, with every role: taken from the routes, so that none is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from calls import control, runtime
from tests.app.console.conftest import somebody
from voiceagent.asgi import application
from voiceagent.console import live, roles
from voiceagent.console.sockets import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("redis_url"),
    # The test client is no ASGI server: it takes the pieces of a file one after the other.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning"),
]

ROOT = Path(__file__).resolve().parents[3]
#: An id of each kind that names nothing: whoever may come in is told so, and nothing breaks.
FORGED = {
    "int": 2**31 - 1,
    "uuid": UUID(int=7),
    "callsid": "CA" + "f" * 32,
    "slug": "f" * 32,
    "str": "\u202e<script>'\"",
    "path": "a/../b",
}
#: What a page may answer to an id that names nothing and to a form without fields.
ANSWERS = {200, 204, 302, 303, 400, 404, 405, 409, 415, 422, 503}


def views(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    """Every view below."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns)
        else:
            yield pattern


VIEWS = list(views([found for found in get_resolver().url_patterns if getattr(found, "namespace", "") == "console"]))


def kind_of(converter: Any) -> str:
    return type(converter).__name__.removesuffix("Converter").removeprefix("String").lower() or "str"


def address(view: URLPattern) -> str:
    converters = view.pattern.converters
    return reverse(f"console:{view.name}", kwargs={name: FORGED[kind_of(converters[name])] for name in converters})


def may(role: str, permission: str) -> bool:
    return permission.removeprefix("console.") in roles.ROLES[role]


def test_every_address_says_what_it_needs_and_has_a_name_of_its_own() -> None:
    assert len(VIEWS) > 20
    for view in VIEWS:
        assert getattr(view.callback, "needs", None), f"{view.pattern} admits anybody: it lacks @needs"
    names = [view.name for view in VIEWS]
    assert len(set(names)) == len(names)


@pytest.fixture
def clients() -> dict[str, Client]:
    """A client for each role."""
    made = {role: Client() for role in roles.ROLES}
    for role, client in made.items():
        client.force_login(somebody(role))
    return made


def in_one_loop[**P](asking: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Let asynchronous views share a loop, as in a server. The test client would give each its own, and what the first starts
    for the process, its runtime, would outlive both the loop and the test: its breakers go on telling in a thread."""

    async def asked() -> None:
        try:
            await sync_to_async(asking)(*args, **kwargs)
        finally:
            await runtime.close_current()

    async_to_sync(asked)()


@pytest.mark.timeout(180)
def test_every_address_admits_the_roles_that_have_its_permission_and_no_other(clients: dict[str, Client]) -> None:
    in_one_loop(_every_role_at_every_address, clients)


def _every_role_at_every_address(clients: dict[str, Client]) -> None:
    nobody, gone = Client(), Client()
    left = somebody("admin", "left")
    gone.force_login(left)
    User.objects.filter(pk=left.pk).update(is_active=False)
    for view in VIEWS:
        needed, place = view.callback.needs, address(view)
        lowest = next(role for role in roles.ROLES if may(role, needed))
        methods = [name for name in ("get", "post") if getattr(nobody, name)(place).status_code != 405]
        assert methods, place
        for method in methods:
            for stranger in (nobody, gone):
                answer = getattr(stranger, method)(place)
                assert answer.status_code == 302, (place, method)
                assert answer.headers["Location"].startswith("/login/?next="), (place, method)
            for role, client in clients.items():
                if may(role, needed) and role not in ((lowest, "admin") if method == "get" else (lowest,)):
                    continue  # between these two nothing differs; what a form does is done once
                answer = getattr(client, method)(place)
                if not may(role, needed):
                    assert answer.status_code == 403, (place, method, role)
                    assert needed in answer.text, (place, method, role)
                else:
                    assert answer.status_code in ANSWERS, (place, method, role, answer.status_code)
                if answer.status_code == 200:
                    assert "no-store" in answer.headers.get("Cache-Control", ""), (place, method, role)
    connections.close_all()


@pytest.mark.parametrize("odd", ["%00", "CA%00", "9" * 400], ids=["nul", "ends", "digits"])
@pytest.mark.timeout(180)
def test_what_is_no_id_in_an_address_is_not_found(odd: str, clients: dict[str, Client]) -> None:
    tried = 0
    for view in VIEWS:
        place = address(view)
        for forged in (FORGED["callsid"], quote(str(FORGED["str"])), str(FORGED["int"]), str(FORGED["uuid"])):
            if forged not in place or iscoroutinefunction(view.callback):
                continue
            tried += 1
            for method in ("get", "post"):
                answer = getattr(clients["admin"], method)(place.replace(forged, odd))
                assert answer.status_code in (404, 405), (place, method, answer.status_code)
    assert tried > 30
    assert clients["admin"].get(f"/calls/{odd}/").status_code == 404
    connections.close_all()


#: Fields of forms and addresses of all screens.
FIELDS = (
    "q", "show", "by", "sort", "cols", "density", "after", "count", "format", "sid", "reason", "name", "text", "when", "key",
    "turn", "t", "tab", "kind", "from", "to", "until", "version", "range", "who", "action", "call", "caller", "entry", "since",
    "before", "step", "language", "line", "process", "filter", "order", "page", "at", "at_ms", "slot", "days", "digits", "seen",
    "query", "next", "visit", "only", "stays", "goes", "stays_seen", "goes_seen", "how", "token",
)  # fmt: skip
ODD = {
    "nul": ("a\0b", ()),
    "digits": ("9" * 400, ()),
    "signs": ("\u202e<script>'\"%s", pytest.mark.long),
    "long": ("x" * 10_000, pytest.mark.long),
}


@pytest.mark.parametrize("odd", [pytest.param(text, id=name, marks=marks) for name, (text, marks) in ODD.items()])
@pytest.mark.timeout(180)
def test_no_text_in_any_field_breaks_an_address(odd: str) -> None:
    client = Client()
    client.force_login(somebody("admin"))
    for view in VIEWS:
        if iscoroutinefunction(
            view.callback
        ):  # the test client would give each a loop of its own, with what it keeps open
            continue
        place = address(view)
        for answer in (
            client.get(place, dict.fromkeys(FIELDS, odd)),
            client.post(place, dict.fromkeys(FIELDS, odd)),
            client.post(place, dict.fromkeys(FIELDS, odd), content_type="application/json"),
        ):
            assert answer.status_code in ANSWERS, (place, answer.request["REQUEST_METHOD"], answer.status_code)
    connections.close_all()


# --- sockets ------------------------------------------------------------------------------------------------------------


def consumer(route: Any) -> Any:
    return route.callback.consumer_class


#: Not of the base's kind: it is the carrier's consumer, needs a line, and is tested with one, by the test named here.
STREAMS = {"TestStream": "test_who_may_not_make_test_calls_is_refused_everywhere"}
PAGES = [route for route in sockets if consumer(route).__name__ not in STREAMS]


def test_every_socket_is_of_the_kind_that_asks_or_tested_elsewhere() -> None:
    assert len(PAGES) > 3
    for route in PAGES:
        assert issubclass(consumer(route), live.LiveConsumer)
    tests = "".join(path.read_text() for path in (ROOT / "tests/line").glob("*.py"))
    assert all(f"def {test}(" in tests for test in STREAMS.values())


def place_of(route: Any) -> str:
    """An address that this route takes."""
    from django.utils.regex_helper import normalize

    regex = getattr(route.pattern, "_regex", None) or str(route.pattern)
    form, names = normalize(str(regex))[0]
    return "/console/" + form % {name: "CA" + "0" * 32 for name in names}


@pytest.mark.parametrize("route", PAGES, ids=lambda route: consumer(route).__name__)
@pytest.mark.timeout(120)
async def test_every_socket_and_every_message_asks_who_may(
    route: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    monkeypatch.setattr(control, "ANSWER_S", 0.02)  # nobody has the call
    try:
        for role in (None, "left", *roles.ROLES):
            await _as_somebody(role, route)
    finally:
        await runtime.close_current()  # who listens has it built
        await sync_to_async(connections.close_all)()


async def _as_somebody(role: str | None, route: Any) -> None:
    found = consumer(route)
    socket = WebsocketCommunicator(application, place_of(route), headers=await _headers(role))
    accepted, _ = await socket.connect(timeout=5)
    admitted = role is not None and role != "left" and may(role, found.permission)
    try:
        if not admitted:
            assert not accepted or await _closed(socket), (found, role)
        elif accepted:
            await _messages(socket, found, role)
    finally:
        await socket.disconnect(timeout=5)


async def _headers(role: str | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"origin", b"http://testserver")]
    if role is None:
        return headers
    user = await sync_to_async(somebody)("admin" if role == "left" else role, role.replace(" ", "-"))
    client = Client()
    await sync_to_async(client.force_login)(user)
    await User.objects.filter(pk=user.pk).aupdate(is_active=role != "left")
    return [*headers, (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())]


async def _closed(socket: WebsocketCommunicator) -> bool:
    """Whether nothing but a refusal comes before the end."""
    while True:
        message = await socket.receive_output(timeout=5)
        if message["type"] == "websocket.close":
            return True
        assert '"refused"' in message["text"], message


async def _messages(socket: WebsocketCommunicator, found: Any, role: str) -> None:
    """Each message without its fields: refused for want of a permission exactly where the role lacks it."""
    for kind, permission in {"snapshot": found.permission, **found.messages}.items():
        await socket.send_json_to({"type": kind})
        if may(role, permission):
            continue
        while True:  # what else the page is told comes between
            message = await socket.receive_output(timeout=5)
            if message["type"] == "websocket.close":
                return  # nothing is there to look at: forged
            if '"refused"' in message["text"] and permission in message["text"]:
                break
    await socket.send_json_to({"type": "no-such-message"})
    while True:
        message = await socket.receive_output(timeout=5)
        if message["type"] == "websocket.close" or '"refused"' in message["text"]:
            return


def test_every_message_has_its_handler_and_a_permission_that_exists() -> None:
    for route in PAGES:
        found = consumer(route)
        assert found.permission.removeprefix("console.") in roles.PERMISSIONS
        for kind, permission in found.messages.items():
            assert permission.removeprefix("console.") in roles.PERMISSIONS
            assert callable(getattr(found, f"on_{kind.replace('-', '_')}"))
