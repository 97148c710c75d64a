"""An operator's pages in one web process and the call in another: all they share is one Redis and one PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest

from calls.codecs import mulaw
from calls.media.tap import decoded
from tests.live.house import ROOT, House
from tests.live.test_drain import call, served
from voiceagent.embedded import state
from voiceagent.embedded.profile import install_defaults
from voiceagent.sandbox.carrier import AgentStarted, PhoneCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(240)]

TONE_HZ = 440
FRAME = 160
SENTENCE = "The kitchen closes at ten tonight."
#: A session for an operator, as signing in makes it.
_SIGN_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
user, _ = User.objects.get_or_create(username="ada")
user.groups.set([Group.objects.get(name="operator")])
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print("session", settings.SESSION_COOKIE_NAME, session.session_key)
"""
_CSRF = "c" * 32


class Operator:
    """Ada's browser, which knows one web process alone."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    def socket(self, path: str) -> Any:
        """A page's socket, as a context manager."""
        return self.session.ws_connect(f"{self.url}/console/{path}", origin=self.url)

    async def does(self, call_sid: str, action: str, **fields: str) -> dict[str, Any]:
        """Step in; what the process answers."""
        headers = {"X-CSRFToken": _CSRF, "Origin": self.url}
        address = f"{self.url}/console/operate/{call_sid}/{action}"
        async with self.session.post(address, json=fields, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def calls_here(self) -> int:
        """How many calls this process has."""
        async with self.session.get(f"{self.url}/readyz") as answer:
            return int((await answer.json())["calls"])


async def told(socket: aiohttp.ClientWebSocketResponse, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message that is ``enough``."""
    seen: list[str] = []
    try:
        async with asyncio.timeout(15):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    content: dict[str, Any] = json.loads(message.data)
                    if enough(content):
                        return content
                    seen.append(message.data[:300])
    except TimeoutError:
        pass
    raise AssertionError(f"not told; closed with {socket.close_code}; seen: {seen[-5:]}")


def says(*words: str) -> Callable[[dict[str, Any]], bool]:
    """Whether all of these stand in a message."""
    return lambda content: all(word in json.dumps(content) for word in words)


def shows(call_sid: str, *states: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a message of the board has this call, in one of these states if any are given."""

    def enough(content: dict[str, Any]) -> bool:
        rows = content.get("rows") or {}
        by_sid = rows if isinstance(rows, dict) else {row["id"]: row for row in rows}
        return call_sid in by_sid and (not states or by_sid[call_sid].get("state") in states)

    return enough


def share_of_tone(audio: bytes) -> float:
    """How much of it lies at the tone, from 0 to 1."""
    spectrum = np.abs(np.fft.rfft(mulaw.to_float(audio))) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / mulaw.SAMPLE_RATE)
    return float(spectrum[np.abs(hz - TONE_HZ) < 15].sum() / max(spectrum.sum(), 1e-9))


def is_loud(audio: bytes) -> bool:
    return bool(audio) and float(np.abs(mulaw.to_float(audio)).max()) > 0.05


async def both_heard(operator: Operator, phone: PhoneCall) -> None:
    """Listen until both sides were loud: the caller hums, the agent is made to speak."""
    async with operator.socket(f"listen/{phone.call_sid}") as sound:
        await told(sound, says('"snapshot"'))
        await phone.speak(mulaw.tone((700,), 400))
        assert (await operator.does(phone.call_sid, "say", text=SENTENCE, when="now"))["accepted"]
        loud: set[str] = set()
        async with asyncio.timeout(15):
            while loud != {"caller", "agent"}:
                message = await sound.receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    batch = decoded(message.data)
                    loud |= {side for side in ("caller", "agent") if is_loud(getattr(batch, side))}


async def speaks_into(operator: Operator, phone: PhoneCall) -> None:
    """A second and a half of a tone by the microphone, in real time; the caller hears it."""
    before = len(phone.heard)
    tone = mulaw.tone((TONE_HZ,), 1500)
    async with operator.socket(f"speak/{phone.call_sid}") as microphone:
        await told(microphone, says('"snapshot"'))
        for at in range(0, len(tone), FRAME):
            await microphone.send_bytes(tone[at : at + FRAME])
            await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            while share_of_tone(phone.heard[before:][-4000:]) < 0.8:  # noqa: ASYNC110 - played by the pace of a phone
                await asyncio.sleep(0.1)
        assert (await operator.does(phone.call_sid, "hand_back", text="It is booked."))["accepted"]


@asynccontextmanager
async def another(house: House) -> AsyncIterator[Operator]:
    """One more web process of this product, and an operator who has signed in there."""
    environ = {
        **house.environ,
        "PORT": str(state.free_port()),
        "DJANGO_SETTINGS_MODULE": "voiceagent.settings.embedded",
    }
    install_defaults(environ)
    signed_in = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", _SIGN_IN],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert signed_in.returncode == 0, signed_in.stderr
    _, cookie, key = signed_in.stdout.split()[-3:]
    output = house.data_dir.with_name("another.out")
    with output.open("wb") as out:
        web = subprocess.Popen(  # noqa: ASYNC220 - it starts beside this loop
            [sys.executable, "-m", "voiceagent.web"], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{environ['PORT']}"
    jar = aiohttp.CookieJar(unsafe=True)
    try:
        async with aiohttp.ClientSession(cookies={cookie: key, "csrftoken": _CSRF}, cookie_jar=jar) as session:
            operator = Operator(url, session)
            async with asyncio.timeout(60):
                while True:
                    assert web.poll() is None, output.read_text()
                    try:
                        await operator.calls_here()
                        break
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.2)
            yield operator
    finally:
        web.kill()
        await asyncio.to_thread(web.wait, 10)


async def test_an_operator_steps_in_from_another_process(data_dir: Path) -> None:
    async with served(data_dir, drain_s=1) as (house, carrier), another(house) as operator:
        phone = await call(carrier)
        await phone.wait_for_quiet()
        sid = phone.call_sid
        assert await operator.calls_here() == 0, "the call is in the other process"
        async with operator.socket("live/") as board, operator.socket(f"operate/{sid}") as watch:
            await told(board, shows(sid))
            await told(watch, says('"status"'))
            await board.send_json({"type": "open", "call_sid": sid})
            await told(board, says('"drawer"'))
            after = len(phone.timeline.events)
            await both_heard(operator, phone)
            await phone.wait_for(AgentStarted, after=after)
            await told(board, says('"drawer"', SENTENCE))
            assert (await operator.does(sid, "take_over"))["accepted"]
            await told(watch, says('"ada"'))
            await told(board, shows(sid, "OPERATOR"))
            await speaks_into(operator, phone)
            assert (await operator.does(sid, "end", reason="abuse"))["accepted"]
            over = await phone.wait_until_over(15)
            assert over.by == "server"
            await told(board, shows(sid, "ENDED"))
            assert not (await operator.does(sid, "say", text="Hello", when="now"))["accepted"]
