"""Agents: what answers a number, and every version of it that ever answered one."""

from __future__ import annotations

import re
from typing import Any, ClassVar, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Value
from django.db.models.functions import Now

from calls import toolbox
from calls.core.policy import AgentProfile, PolicyError, TurnPolicy
from calls.core.record import RecordError, build, payload
from calls.models import phrase
from calls.phrase_fields import own_phrases
from calls.phrasebook import recording_digest
from calls.policy_fields import policy_from

_BLANK = AgentProfile(name="", version=0, instructions="", greeting="", voice="")
E164 = r"^\+[1-9][0-9]{1,14}$"


def default_idle_texts() -> list[str]:
    """What an agent says when nobody speaks, unless told otherwise."""
    return list(_BLANK.idle_texts)


class Agent(models.Model):
    """An assistant that answers phone numbers. Saving one that changed adds an ``AgentVersion``.

    A phrase of its own is part of a version once there is a recording of it; saving orders what is missing.
    """

    class BusyAnswer(models.TextChoices):
        """What a caller gets for whom there is no line."""

        TONE = "tone", "the busy tone"
        PHRASE = "phrase", "a sentence, then the end"
        FORWARD = "forward", "another number"

    name = models.CharField(max_length=80, unique=True)
    instructions = models.TextField(help_text="What the model is told before every call: who it is and how it behaves.")
    greeting = models.TextField(blank=True, help_text="Said as soon as the call is answered. Empty: the caller begins.")
    returning_greeting = models.TextField(
        "greeting of callers it knows",
        blank=True,
        db_default="",
        help_text="Said instead where the caller's name is on file in time; {name} stands for it. Empty: as everybody.",
    )
    voice = models.CharField(max_length=100, help_text="The voice's id at the voice vendor.")
    language = models.CharField(max_length=16, default="en", help_text="Two-letter code of the language spoken.")
    model = models.CharField(max_length=80, blank=True, help_text="Language model; empty takes the server's default.")
    tools = models.JSONField(default=list, blank=True)
    idle_texts = models.JSONField("silence prompts", default=default_idle_texts, blank=True)
    goodbye_text = models.CharField(
        "goodbye after silence",
        max_length=400,
        blank=True,
        default=_BLANK.goodbye_text,
    )
    transfer_to = models.CharField(
        "transfers go to",
        max_length=255,
        blank=True,
        help_text="Number that transfer_call passes the caller on to. Empty: the agent cannot transfer.",
    )
    phrases = models.JSONField("phrases of its own", default=dict, db_default=Value({}, models.JSONField()), blank=True)
    busy_answer = models.CharField(
        "callers without a free line get",
        max_length=8,
        choices=BusyAnswer,
        default=BusyAnswer.TONE,
        db_default=BusyAnswer.TONE,
        help_text="When all lines are taken, calls in progress suffer, or the server is stopping.",
    )
    overflow_to = models.CharField(
        "other number for them",
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text="Where callers without a free line are put through to. Not a number of this server.",
    )
    policy = models.JSONField("turn-taking policy", default=dict, blank=True)
    is_active = models.BooleanField(
        "active", default=True, help_text="An inactive agent's numbers are refused politely."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    #: Who is saving, for the version's history; set by the admin, not stored here.
    edited_by: Any = None

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and keep the new state as a version if it differs from the last one."""
        with transaction.atomic():
            super().save(*args, **kwargs)
            phrase.order(self.voice, self.language, own_phrases(self.phrases).values())
            self.capture_version()

    def clean(self) -> None:
        """Check what spans fields of this row: the policy, the tools, what is said, and who is called instead."""
        errors: dict[str, str] = {}
        for field, check in (
            ("policy", self.turn_policy),
            ("tools", self._tool_specs),
            ("idle_texts", self._texts),
            ("phrases", lambda: own_phrases(self.phrases)),
            ("overflow_to", self._check_overflow),
        ):
            try:
                check()
            except (PolicyError, ValueError) as error:
                errors[field] = str(error)
        if errors:
            raise ValidationError(cast("Any", errors))

    def turn_policy(self) -> TurnPolicy:
        """The policy with defaults for what is not set. Raises ``PolicyError``."""
        return policy_from(self.policy)

    def _tool_specs(self) -> tuple[Any, ...]:
        return toolbox.specs(self.tools)

    def _texts(self) -> tuple[str, ...]:
        if not isinstance(self.idle_texts, list) or not all(isinstance(text, str) for text in self.idle_texts):
            raise ValueError("silence prompts must be a list of sentences")
        return tuple(text for text in self.idle_texts if text.strip())

    def _check_overflow(self) -> None:
        if self.busy_answer != self.BusyAnswer.FORWARD:
            return
        if not re.fullmatch(E164, self.overflow_to):
            raise ValueError("name the other number with + and country code, such as +15005550006")
        if AgentNumber.objects.filter(number=self.overflow_to).exists():
            raise ValueError("this server answers that number itself: callers would go round in circles")

    def recorded_phrases(self) -> tuple[tuple[str, str], ...]:
        """Its own phrases of which there are recordings in its voice and language, as key and text."""
        own = own_phrases(self.phrases)
        if not own:
            return ()
        digests = {key: recording_digest(self.voice, self.language, text) for key, text in own.items()}
        there = set(phrase.rendered(digests.values()).values_list("pk", flat=True))
        return tuple((key, text) for key, text in own.items() if digests[key] in there)

    def profile(self, version: int) -> AgentProfile:
        """What the core gets, as version ``version``. Raises ``ValueError`` for a policy or tool that makes no sense."""
        return AgentProfile(
            name=self.name,
            version=version,
            instructions=self.instructions,
            greeting=self.greeting,
            returning_greeting=self.returning_greeting,
            voice=self.voice,
            language=self.language,
            model=self.model,
            tools=self._tool_specs(),
            policy=self.turn_policy(),
            idle_texts=self._texts(),
            goodbye_text=self.goodbye_text,
            transfer_to=self.transfer_to,
            phrases=self.recorded_phrases(),
        )

    def capture_version(self) -> AgentVersion:
        """The version that equals this agent as it is now: the newest one, or a new one."""
        with transaction.atomic():
            Agent.objects.select_for_update().only("pk").get(pk=self.pk)
            latest = self.versions.order_by("-number").first()
            number = latest.number + 1 if latest else 1
            if latest and latest.profile == payload(self.profile(latest.number)):
                return latest
            return AgentVersion.objects.create(
                agent=self, number=number, profile=payload(self.profile(number)), created_by=self.edited_by
            )


class AgentNumber(models.Model):
    """A phone number that an agent answers."""

    number = models.CharField(
        max_length=16,
        unique=True,
        validators=[RegexValidator(E164, "Write the number with + and country code, digits only: +15005550006.")],
        help_text="With + and country code: +15005550006",
    )
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="numbers")
    note = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(number__regex=E164), name="agent_number_is_e164"),
        ]

    def __str__(self) -> str:
        return self.number

    def clean(self) -> None:
        """A number that callers are put through to when all lines are taken must not come back here."""
        if Agent.objects.filter(busy_answer=Agent.BusyAnswer.FORWARD, overflow_to=self.number).exists():
            raise ValidationError({"number": "An agent puts callers through to this number when no line is free."})


class AgentVersion(models.Model):
    """One version of an agent, as the calls that ran with it saw it. Never changed, never reused."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    profile = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    class Meta:
        ordering: ClassVar = ["agent", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["agent", "number"], name="agent_version_number_once"),
        ]

    def __str__(self) -> str:
        return f"{self.profile.get('name', '?') if isinstance(self.profile, dict) else '?'} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only. Raises ``TypeError`` for a change of a stored version."""
        if not self._state.adding:
            raise TypeError("a version of an agent is never changed: save the agent, which makes a new one")
        super().save(*args, **kwargs)

    def as_profile(self) -> AgentProfile:
        """The snapshot as a value. Raises ``RecordError`` or ``PolicyError`` if today's code cannot read it."""
        built = build(AgentProfile, self.profile)
        if not isinstance(built, AgentProfile):
            raise RecordError("a version of an agent must be an object")
        return built
