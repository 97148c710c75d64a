"""The form in which people edit an agent: one control per policy value, tools to tick, one prompt per line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.validators import RegexValidator
from django.utils.html import format_html

from calls import toolbox
from calls.core.phrases import shipped_text
from calls.core.policy import PolicyError, TurnPolicy
from calls.models import Agent, AgentNumber
from calls.models.agent import E164
from calls.phrase_fields import KEYS, MOST_CHARS, MOST_S, SITUATIONS, own_phrases
from calls.policy_fields import HIDDEN, POLICY_FIELDS, PolicyField, field_of_error, policy_from, stored_from

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Agent]
    _NumberForm = forms.ModelForm[AgentNumber]
else:
    _ModelForm = _NumberForm = forms.ModelForm

PREFIX = "policy_"
PHRASE_PREFIX = "phrase_"
_DEFAULT = TurnPolicy()
_TIDY = {"spellcheck": "false"}


def form_field(policy_field: PolicyField) -> forms.Field:
    """The control of one policy value. Bounds beyond the kind are the policy's own to check."""
    default = getattr(_DEFAULT, policy_field.name)
    common: dict[str, Any] = {"label": policy_field.label, "help_text": policy_field.help, "initial": default}
    if policy_field.choices:
        return forms.ChoiceField(choices=policy_field.choices, **common)
    if isinstance(default, bool):
        return forms.BooleanField(required=False, **common)
    common["help_text"] = f"{policy_field.help} Usually {default:,}."
    return forms.IntegerField(max_value=2**31 - 1, **common)


class TextArea(forms.Textarea):
    """Ends lines as they are stored: a browser's own ends would make a version of a text that nobody changed."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """The text with plain ends of lines."""
        value = super().value_from_datadict(data, files, name)
        return re.sub(r"\r\n?", "\n", value) if isinstance(value, str) else value


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    widget = TextArea(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        """The list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """The lines that are not empty."""
        return [line.strip() for line in str(super().clean(value) or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the lines differ, not their spelling as text."""
        return super().has_changed(self.prepare_value(initial), data)


class PhoneField(forms.CharField):
    """A phone number in E.164; the spaces and signs that people write into one are taken out."""

    default_validators = [  # noqa: RUF012 - as the base has it
        RegexValidator(E164, "Write the number with + and country code, such as +1 500 555 0006.")
    ]

    def to_python(self, value: Any) -> str:
        """Plus sign and digits, where nothing else was there."""
        return re.sub(r"[\s().\-/]", "", super().to_python(value) or "")


class AgentNumberForm(_NumberForm):
    """A number that an agent answers."""

    number = PhoneField(help_text="With + and country code: +15005550006")

    class Meta:
        model = AgentNumber
        fields: ClassVar = ["number", "note"]


class AgentBaseForm(_ModelForm):
    """An agent without the controls of its policy and phrases, which ``AgentForm`` adds by their tables.

    ``phrase_states``: what the admin has to say below a phrase's control, as HTML.
    """

    phrase_states: ClassVar[dict[str, str]] = {}

    idle_texts = LinesField(
        label="Silence prompts", required=False, help_text="One per line, said in turn when the caller is silent."
    )
    transfer_to = PhoneField(
        label="Transfers go to",
        required=False,
        help_text="Number that transfer_call passes the caller on to. Empty: the agent cannot transfer.",
    )
    overflow_to = PhoneField(
        label="Other number for them",
        required=False,
        help_text="Where callers without a free line are put through to. Not a number of this server.",
    )
    tools = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, help_text="What the agent can do during a call."
    )

    class Meta:
        model = Agent
        fields: ClassVar = [
            "name", "is_active", "instructions", "greeting", "returning_greeting", "voice", "language", "model", "tools",
            "idle_texts", "goodbye_text", "transfer_to", "busy_answer", "overflow_to",
        ]  # fmt: skip
        widgets: ClassVar = {
            "instructions": TextArea(attrs={"rows": 18, "cols": 90}),
            "greeting": TextArea(attrs={"rows": 2, "cols": 90}),
            "returning_greeting": TextArea(attrs={"rows": 2, "cols": 90}),
            "goodbye_text": TextArea(attrs={"rows": 2, "cols": 90}),
            "voice": forms.TextInput(attrs={"size": 40, **_TIDY}),
            "model": forms.TextInput(attrs={"size": 40, **_TIDY}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tools = self.fields["tools"]
        assert isinstance(tools, forms.MultipleChoiceField)  # noqa: S101 - declared above
        tools.choices = self._tool_choices()
        for name, value in self._shown_policy().items():
            self.initial.setdefault(PREFIX + name, value)
        language = self.instance.language
        for key in KEYS:
            field = self.fields[PHRASE_PREFIX + key]
            field.widget.attrs["placeholder"] = shipped_text(language, key)
            field.help_text = format_html("{} {}", field.help_text, self.phrase_states.get(key, ""))
            if isinstance(self.instance.phrases, dict):
                self.initial.setdefault(PHRASE_PREFIX + key, self.instance.phrases.get(key, ""))

    def _tool_choices(self) -> list[tuple[str, str]]:
        known = toolbox.available()
        choices = [(name, f"{name} ({spec.effect}): {spec.description}") for name, spec in sorted(known.items())]
        stored = self.instance.tools if isinstance(self.instance.tools, list) else []
        gone = [name for name in stored if isinstance(name, str) and name not in known]
        return choices + [(name, f"{name}: no longer available, untick it") for name in gone]

    def _shown_policy(self) -> dict[str, Any]:
        try:
            policy = policy_from(self.instance.policy)
        except PolicyError:
            return dict(self.instance.policy) if isinstance(self.instance.policy, dict) else {}
        return {field.name: getattr(policy, field.name) for field in POLICY_FIELDS}

    def clean(self) -> dict[str, Any]:
        """Put the policy together; what is wrong with it becomes an error at its own field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._clean_phrases(cleaned)
        values = {field.name: cleaned.get(PREFIX + field.name) for field in POLICY_FIELDS}
        if any(value is None for value in values.values()):
            return cleaned
        try:
            policy = TurnPolicy(**{**values, **{name: getattr(_DEFAULT, name) for name in HIDDEN}})
        except PolicyError as error:
            name = field_of_error(str(error))
            self.add_error(PREFIX + name if name else None, str(error).replace(name, "This value", 1))
            return cleaned
        self.instance.policy = stored_from(policy)
        return cleaned

    def _clean_phrases(self, cleaned: dict[str, Any]) -> None:
        stored: dict[str, str] = {}
        for key in KEYS:
            try:
                stored |= own_phrases({key: cleaned.get(PHRASE_PREFIX + key, "")})
            except ValueError as error:
                self.add_error(PHRASE_PREFIX + key, str(error).replace(key, "This sentence", 1))
        self.instance.phrases = stored


def phrase_field(key: str) -> forms.Field:
    """The control of one recorded phrase. Empty: the shipped one, which stands in it as long as it is."""
    widget = TextArea(attrs={"rows": 2, "cols": 90})
    help_text = f"{SITUATIONS[key].help} About {MOST_S} seconds, at most {MOST_CHARS} characters."
    return forms.CharField(label=SITUATIONS[key].label, help_text=help_text, required=False, widget=widget)


AgentForm: type[AgentBaseForm] = type(
    "AgentForm",
    (AgentBaseForm,),
    {PREFIX + field.name: form_field(field) for field in POLICY_FIELDS}
    | {PHRASE_PREFIX + key: phrase_field(key) for key in KEYS},
)


def policy_fieldsets() -> list[Any]:
    """The policy's groups as the admin shows them, folded."""
    groups: dict[str, list[str]] = {}
    for field in POLICY_FIELDS:
        groups.setdefault(field.group, []).append(PREFIX + field.name)
    return [(f"Turn-taking: {name}", {"fields": names, "classes": ["collapse"]}) for name, names in groups.items()]
