"""An agent's own phrases: ordered by saving, said by the voice vendor's own SDK, and in a version once they are there."""

from __future__ import annotations

import wave
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from calls import phrasebook, surroundings, tasks
from calls.breakerrules import Rules
from calls.breakers import UNGUARDED, Breaker, Env
from calls.conf import CartesiaConf
from calls.core.phrases import PHRASES, shipped_text
from calls.forms import PHRASE_PREFIX, AgentForm
from calls.models import Agent, AgentNumber, PhraseRecording
from calls.phrase_fields import KEYS, MOST_CHARS, SITUATIONS
from calls.providers.cartesia.rendering import PhraseVoice
from calls.services import phrases
from tests.app.records.test_agents import form_data
from voiceagent.sandbox import sound
from voiceagent.sandbox.control import Handle, SandboxServer, SandboxThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

    from tests.app.records.conftest import Cast

pytestmark = pytest.mark.django_db

AGENTS = "/admin/calls/agent/"
BYTES = "cartesia.tts.bytes"
OH_DEAR, BYE = "Oh dear, that went wrong. Goodbye.", "I must go now. Goodbye."


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxThread() as server:
        yield server


@pytest.fixture
def vendor(sandbox: SandboxServer) -> Handle:
    handle = sandbox.handle()
    handle.configure(tts={"first_byte_ms": 0, "speed": 1000})
    return handle


class Studio:
    """A worker that renders at the time it is told, and does not sleep."""

    def __init__(self, sandbox: SandboxServer, vendor: Handle) -> None:
        self.vendor = vendor
        self.conf = CartesiaConf(api_key=vendor.key, base_url=sandbox.url)
        self.slept: list[float] = []
        self.breaker = UNGUARDED

    def work(self, now: datetime | None = None) -> dict[str, int]:
        voice = PhraseVoice(self.conf, self.breaker)
        try:
            return dict(phrases.render_due(voice, now or timezone.now(), self.slept.append))
        finally:
            voice.close()

    def asked(self) -> list[str]:
        """The sentences that reached the vendor."""
        return [str(entry.get("text")) for entry in self.vendor.journal(BYTES) if entry.get("text")]


@pytest.fixture
def studio(sandbox: SandboxServer, vendor: Handle) -> Studio:
    return Studio(sandbox, vendor)


@pytest.fixture
def agent(db: None) -> Agent:
    return Agent.objects.create(name="Ana", instructions="x", voice="v1", phrases={"trouble": OH_DEAR, "closing": BYE})


def newest(agent: Agent) -> tuple[int, tuple[tuple[str, str], ...]]:
    version = agent.versions.order_by("-number")[0]
    return version.number, version.as_profile().phrases


def only() -> PhraseRecording:
    return PhraseRecording.objects.get()


# --- from the order to the recording ------------------------------------------------------------------------------


def test_saving_orders_rendering_makes_the_version_and_both_again_do_nothing(agent: Agent, studio: Studio) -> None:
    assert newest(agent) == (1, ())
    assert studio.work() == {"rendered": 2, "versions": 1}
    assert newest(agent) == (2, (("trouble", OH_DEAR), ("closing", BYE)))
    for row in PhraseRecording.objects.all():
        samples = sound.mulaw_decode(bytes(row.audio or b""))
        assert (row.state, row.voice, row.language) == ("rendered", "v1", "en")
        assert len(samples) > sound.PHONE_RATE
        assert np.abs(samples.astype(int)).max() > 1000
    agent.save()
    assert studio.work() == {}
    assert sorted(studio.asked()) == sorted([OH_DEAR, BYE])
    assert agent.versions.count() == 2


def test_another_voice_or_language_has_the_shipped_phrases_until_it_has_its_own(agent: Agent, studio: Studio) -> None:
    studio.work()
    for change in ({"voice": "v2"}, {"language": "de"}):
        for name, value in change.items():
            setattr(agent, name, value)
        agent.save()
        assert newest(agent)[1] == ()
        assert studio.work() == {"rendered": 2, "versions": 1}
        assert len(newest(agent)[1]) == 2
    agent.voice, agent.language = "v1", "en"
    agent.save()
    assert len(newest(agent)[1]) == 2, "what was rendered before is there at once"
    assert studio.work() == {}
    assert len(studio.asked()) == 6


def test_two_agents_who_say_the_same_share_the_recording(agent: Agent, studio: Studio) -> None:
    other = Agent.objects.create(name="Ben", instructions="x", voice="v1", phrases={"busy": BYE})
    assert studio.work() == {"rendered": 2, "versions": 2}
    assert newest(other) == (2, (("busy", BYE),))


def test_a_phrase_taken_back_leaves_the_next_version_and_not_the_old_one(agent: Agent, studio: Studio) -> None:
    studio.work()
    old = agent.versions.order_by("-number")[0]
    agent.phrases = {"closing": BYE}
    agent.save()
    assert newest(agent) == (3, (("closing", BYE),))
    profile = old.as_profile()
    phrases.load(phrasebook.missing(profile))
    assert phrasebook.hold(profile)[0].phrases == profile.phrases, "a call that began with it has it to its end"


def test_a_worker_that_dies_leaves_the_order_to_the_next_one(agent: Agent, studio: Studio) -> None:
    class Died(BaseException):
        pass

    class Dying:
        def render(self, text: str, voice: str, language: str) -> bytes:
            raise Died

    now = timezone.now()
    with pytest.raises(Died):
        phrases.render_due(Dying(), now)
    assert studio.work(now) == {"rendered": 1, "versions": 1}, "the other one"
    assert studio.work(now + timedelta(minutes=4)) == {}
    assert studio.work(now + timedelta(minutes=5)) == {"rendered": 1, "versions": 1}


def test_one_that_dies_before_the_version_leaves_that_to_the_next_one(agent: Agent, studio: Studio) -> None:
    audio = phrasebook.shipped_audio("en", "trouble")
    PhraseRecording.objects.update(state="rendered", audio=audio, due_at=None)
    assert studio.work() == {"versions": 1}
    assert len(newest(agent)[1]) == 2


def test_somebody_who_saves_meanwhile_is_not_overwritten(agent: Agent, studio: Studio) -> None:
    Agent.objects.filter(pk=agent.pk).update(greeting="Good evening!")
    studio.work()
    assert agent.versions.order_by("-number")[0].as_profile().greeting == "Good evening!"


def test_the_workers_task_asks_the_vendor_that_is_configured_behind_the_breaker_of_its_process(
    agent: Agent, studio: Studio, settings: Any
) -> None:
    settings.CARTESIA = studio.conf
    tasks._phrase_voice.cache_clear()
    tripped = Breaker("cartesia.tts", Rules(), Env(lambda: 0))
    try:
        surroundings.guard_voice(tripped)
        tripped.admit().failed("quota")
        assert tasks.render_phrases() == {"postponed": 1}, "one tells of all"
        tasks._phrase_voice.cache_clear()
        surroundings.guard_voice(UNGUARDED)
        PhraseRecording.objects.update(due_at=timezone.now())
        assert tasks.render_phrases() == {"rendered": 2, "versions": 1}
    finally:
        surroundings.guard_voice(UNGUARDED)
        tasks._phrase_voice().close()
        tasks._phrase_voice.cache_clear()


# --- when the vendor fails ----------------------------------------------------------------------------------------


@pytest.fixture
def single(db: None) -> Agent:
    return Agent.objects.create(name="Ana", instructions="x", voice="v1", phrases={"trouble": OH_DEAR})


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "refuse", "status": 500},
        {"kind": "refuse", "status": 429},
        {"kind": "refuse", "status": 503},
        {"kind": "cut", "after": 1},
    ],
    ids=["server", "rate limited", "overloaded", "cut"],
)
def test_what_may_pass_is_tried_again_at_once(single: Agent, studio: Studio, fault: dict[str, Any]) -> None:
    studio.vendor.fault(BYTES, times=2, **fault)
    assert studio.work() == {"rendered": 1, "versions": 1}
    assert len(studio.slept) == 2
    assert all(0 <= pause <= 8 for pause in studio.slept)
    assert len(bytes(only().audio or b"")) > 8000, "nothing of the sentence is missing"


def test_what_does_not_pass_is_tried_again_later_and_given_up_in_the_end(single: Agent, studio: Studio) -> None:
    studio.vendor.fault(BYTES, "refuse", status=500, times=0)
    now, outcomes, pauses = timezone.now(), [], []
    for _ in range(phrases.MOST_ATTEMPTS):
        outcomes += studio.work(now).keys()
        row = only()
        assert studio.work(now + timedelta(seconds=20)) == {}, "not before it is due"
        if row.due_at:
            pauses.append((row.due_at - now).total_seconds())
            now = row.due_at
    assert outcomes == ["postponed"] * (phrases.MOST_ATTEMPTS - 1) + ["failed"]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600]
    assert (row.state, row.due_at, newest(single)) == ("failed", None, (1, ()))
    assert "server" in row.reason
    studio.vendor.clear_faults()
    single.save()
    assert studio.work() == {"rendered": 1, "versions": 1}, "saving tries again"


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(402, "quota_exceeded", "quota"), (401, None, "auth"), (404, None, "not_found")]
)
def test_what_cannot_pass_is_not_tried_again(
    single: Agent, studio: Studio, status: int, code: str | None, kind: str
) -> None:
    studio.vendor.fault(BYTES, "refuse", status=status, code=code, times=0)
    assert studio.work() == {"failed": 1}
    assert (only().state, only().due_at, studio.slept) == ("failed", None, [])
    assert kind in only().reason
    assert studio.vendor.key not in only().reason


def test_an_open_breaker_postpones_without_asking_or_counting(single: Agent, studio: Studio) -> None:
    studio.breaker = Breaker("cartesia.tts", Rules(), Env(lambda: 0))
    studio.breaker.admit().failed("quota")
    assert studio.work() == {"postponed": 1}
    assert (studio.asked(), only().attempts, only().state) == ([], 0, "waiting")
    assert only().due_at is not None


def test_what_the_vendor_says_of_us_is_counted_by_the_breaker(single: Agent, studio: Studio) -> None:
    studio.breaker = Breaker("cartesia.tts", Rules(attempts=2), Env(lambda: 0))
    studio.vendor.fault(BYTES, "refuse", status=500, times=0)
    assert studio.work() == {"postponed": 1}
    assert str(studio.breaker.phase) == "open"


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (b"", "said nothing (0.0 s)"),
        (b"\x80" * 1000, "said nothing (0.1 s)"),
        (b"\xff" * 16000, "silent"),
        (phrasebook.shipped_audio("en", "trouble") * 3, "at most 10 s are played: shorten it"),
    ],
    ids=["nothing", "a click", "silence", "a speech"],
)
def test_what_is_no_recording_of_a_sentence_is_not_played(single: Agent, audio: bytes, reason: str) -> None:
    class Odd:
        def render(self, text: str, voice: str, language: str) -> bytes:
            return audio

    assert phrases.render_due(Odd(), timezone.now()) == {"failed": 1}
    assert reason in only().reason
    assert newest(single) == (1, ())


def test_a_rendered_row_has_its_audio(single: Agent) -> None:
    with pytest.raises(IntegrityError):
        PhraseRecording.objects.update(state="rendered")


# --- in the admin -------------------------------------------------------------------------------------------------


def test_every_phrase_has_a_situation_and_a_control() -> None:
    assert set(SITUATIONS) == set(PHRASES["en"])
    assert {PHRASE_PREFIX + key for key in KEYS} <= set(AgentForm.base_fields)


def test_what_is_typed_is_stored_tidily_and_what_is_empty_is_not() -> None:
    form = AgentForm(form_data(phrase_trouble="  Oh\r\n dear. ", phrase_closing="   "))
    assert form.is_valid(), form.errors
    assert form.save().phrases == {"trouble": "Oh dear."}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * (MOST_CHARS + 1), f"This sentence has {MOST_CHARS + 1} characters"),
        ("…!", "nothing in it that can be said"),
        ("Oh\adear.", "This sentence has the invisible control character U+0007"),
        ("Oh \u202edear.", "U+202E"),
    ],
)
def test_a_sentence_that_makes_no_sense_is_refused_at_its_control(text: str, message: str) -> None:
    form = AgentForm(form_data(phrase_trouble=text))
    assert not form.is_valid()
    assert message in str(form.errors["phrase_trouble"])
    assert set(form.errors) == {"phrase_trouble"}


@pytest.mark.parametrize(
    ("stored", "message"), [([], "must be an object"), ({"trouble": 1}, "sentences"), ({"joke": "x"}, "'joke'")]
)
def test_a_row_that_makes_no_sense_is_refused(agent: Agent, stored: Any, message: str) -> None:
    agent.phrases = stored
    with pytest.raises(ValidationError, match=message):
        agent.full_clean()


def test_the_page_says_how_far_each_phrase_is(agent: Agent, client: Client, cast: Cast, studio: Studio) -> None:
    client.force_login(cast.root)
    page = f"{AGENTS}{agent.pk}/change/"
    html = client.get(page).content.decode()
    assert html.count("Waiting to be recorded") == 2
    assert html.count("The shipped sentence.") == len(KEYS) - 2
    studio.vendor.fault(BYTES, "refuse", status=404, message="No such voice <script>")
    studio.work()
    html = client.get(page).content.decode()
    assert "Waiting to be recorded" not in html
    assert html.count("callers hear it.") == 1
    assert html.count("Could not be recorded") == 1
    assert "No such voice &lt;script&gt;" in html
    other = Agent.objects.create(name="Ben", instructions="x", voice="v1")
    assert "Could not be recorded" not in client.get(f"{AGENTS}{other.pk}/change/").content.decode()


def test_saving_in_the_admin_says_that_a_recording_is_made(
    client: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[str] = []
    monkeypatch.setattr("calls.services.editing.send_render_phrases", lambda: sent.append("sent"))
    client.force_login(cast.root)
    numbers = {"numbers-TOTAL_FORMS": "0", "numbers-INITIAL_FORMS": "0"}
    with django_capture_on_commit_callbacks(execute=True):
        html = client.post(f"{AGENTS}add/", form_data(phrase_trouble=OH_DEAR, **numbers), follow=True).content.decode()
    assert "One sentence is being recorded in the agent’s voice" in html
    assert sent == ["sent"]


def test_the_sound_is_what_callers_hear_and_for_whoever_may_see_the_agent(
    agent: Agent, client: Client, cast: Cast, studio: Studio
) -> None:
    def frames(key: str) -> bytes:
        answer = client.get(f"{AGENTS}{agent.pk}/phrase/{key}/")
        assert (answer.status_code, answer["Content-Type"]) == (200, "audio/wav")
        assert "no-store" in answer["Cache-Control"]
        with wave.open(BytesIO(answer.content)) as file:
            return file.readframes(file.getnframes())

    client.force_login(cast.alice)
    shipped = frames("trouble")
    assert len(shipped) == 2 * len(phrasebook.shipped_audio("en", "trouble"))
    studio.work()
    assert frames("trouble") != shipped
    assert frames("busy") == phrasebook.wav(phrasebook.shipped_audio("en", "busy"))[44:]
    for key, number in (("joke", agent.pk), ("trouble", 10**6)):
        assert client.get(f"{AGENTS}{number}/phrase/{key}/").status_code == 404
    for user in (cast.bob, cast.charlie):
        client.force_login(user)
        assert client.get(f"{AGENTS}{agent.pk}/phrase/trouble/").status_code == 403
    client.logout()
    assert client.get(f"{AGENTS}{agent.pk}/phrase/trouble/").status_code == 302


def test_a_version_shows_the_phrases_that_it_has(agent: Agent, client: Client, cast: Cast, studio: Studio) -> None:
    studio.work()
    client.force_login(cast.root)
    version = agent.versions.order_by("-number")[0]
    html = client.get(f"/admin/calls/agentversion/{version.pk}/change/").content.decode()
    assert "Phrases of its own" in html
    assert f"Too many failures in a row: {OH_DEAR}" in html


def test_the_placeholder_is_the_shipped_sentence_in_the_agents_language(agent: Agent) -> None:
    agent.language = "fr"
    form = AgentForm(instance=agent)
    assert form.fields["phrase_busy"].widget.attrs["placeholder"] == shipped_text("fr", "busy")
    assert form["phrase_trouble"].value() == OH_DEAR


# --- another number -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("", "name the other number"),
        ("0500 5550006", "Write the number with +"),
        ("+15005550077", "round in circles"),
    ],
)
def test_a_number_that_callers_cannot_be_put_through_to(agent: Agent, number: str, message: str) -> None:
    AgentNumber.objects.create(agent=agent, number="+15005550077")
    form = AgentForm(form_data(busy_answer="forward", overflow_to=number))
    assert not form.is_valid()
    assert message in str(form.errors["overflow_to"])


def test_a_number_that_callers_are_put_through_to_gets_no_agent(agent: Agent) -> None:
    agent.busy_answer, agent.overflow_to = "forward", "+15005550088"
    agent.full_clean()
    agent.save()
    with pytest.raises(ValidationError, match="when no line is free"):
        AgentNumber(agent=agent, number="+15005550088").full_clean()
