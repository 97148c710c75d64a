"""What operators type."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone

from memory import people
from memory.core.values import Kind
from memory.models import ApiToken, Caller
from memory.models.access import SCOPES
from memory.services.lines import MOST_FACT_CHARS

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

#: What cannot be entered: it is what was said, or made of it.
_MADE = (Kind.UTTERANCE, Kind.SUMMARY)
_MOST_DAYS = 3_650


class EnterForm(forms.Form):
    """A fact. In a slot the value decides, and kind and wording are the slot's."""

    slot = forms.CharField(
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"list": "slots", "class": "vTextField", "autocomplete": "off"}),
        help_text="What it is, such as contact.time or relation.brother.allergy. Empty: a fact in its own words.",
    )
    text = forms.CharField(
        label="Value, or the fact in words",
        max_length=MOST_FACT_CHARS,
        widget=forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
        help_text="In a slot the value alone: “before ten” for contact.time. Without one a sentence: “Plays the cello”.",
    )
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.value) for kind in Kind if kind not in _MADE],
        initial=Kind.FACT.value,
        help_text="Counts for a fact without a slot.",
    )


class CorrectForm(forms.Form):
    """What stands in a fact's place."""

    CHANGED, WRONG = "changed", "wrong"

    text = forms.CharField(
        label="What is right",
        max_length=MOST_FACT_CHARS,
        widget=forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
    )
    how = forms.ChoiceField(
        label="The old one",
        choices=[(CHANGED, "was true until now"), (WRONG, "was never true")],
        initial=CHANGED,
        widget=forms.RadioSelect,
    )


class KeepForm(forms.Form):
    """How long what a caller says is kept."""

    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_MOST_DAYS,
        label="Keep for (days)",
        help_text="Empty: as long as the caller.",
    )


class ConfirmForm(forms.Form):
    """Nothing to type: the button decides."""


class EraseForm(forms.Form):
    """A whole caller goes: whoever does it types the end of the number."""

    digits = forms.CharField(
        label="Last four characters of the number",
        max_length=8,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )

    def __init__(self, *args: Any, wanted: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wanted = wanted

    def clean_digits(self) -> str:
        """What was typed, where it is this caller."""
        typed = str(self.cleaned_data["digits"]).strip()
        if typed != self._wanted:
            raise forms.ValidationError("That is not the end of this caller's number: nothing was erased.")
        return typed


class TokenForm(forms.Form):
    """A token to be issued."""

    name = forms.CharField(max_length=80, help_text="Who or what uses it. Stands in histories and the record of uses.")
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=SCOPES,
        widget=forms.CheckboxSelectMultiple,
        help_text="A scope can be given by whoever holds the same permission in the admin.",
    )
    every_caller = forms.BooleanField(required=False, label="For every caller")
    callers = forms.CharField(
        required=False,
        label="For these callers",
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"}),
        help_text="Phone numbers with + and country code, or ids of callers, one a line.",
    )
    days = forms.IntegerField(label="Expires after (days)", min_value=1, max_value=_MOST_DAYS, initial=90)
    rate_per_minute = forms.IntegerField(label="Requests a minute", min_value=1, max_value=100_000, initial=120)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_name(self) -> str:
        """A name that is free."""
        name = str(self.cleaned_data["name"]).strip()
        if ApiToken.objects.filter(name=name).exists():
            raise forms.ValidationError("There is a token of this name already.")
        return name

    def clean_scopes(self) -> list[str]:
        """Nobody hands out what they do not have themselves."""
        chosen: list[str] = self.cleaned_data["scopes"]
        lacking = [scope for scope in chosen if not self._user.has_perms(NEEDS[scope])]
        if lacking:
            raise forms.ValidationError(f"You may not do that yourself: {', '.join(lacking)}.")
        return chosen

    def clean(self) -> dict[str, Any]:
        """Either every caller or some."""
        values = super().clean() or {}
        lines = [line.strip() for line in str(values.get("callers", "")).splitlines() if line.strip()]
        if values.get("every_caller"):
            if lines:
                self.add_error("callers", "Choose one: every caller, or these.")
            values["reached"] = None
            return values
        if not lines:
            self.add_error("callers", "Say whose memory it reaches, or choose every caller.")
        values["reached"] = self._reached(lines)
        return values

    def _reached(self, lines: list[str]) -> list[UUID]:
        """The callers that the lines name; an error names the line, not what stands there."""
        reached = []
        for place, line in enumerate(lines, 1):
            wanted = {"pk": found} if (found := people.as_id(line)) else {"key_hash": people.hash_of(line) or "-"}
            row = Caller.objects.filter(**wanted).values_list("pk", flat=True).first()
            if row is None:
                self.add_error("callers", f"Line {place}: there is no caller with this number or id.")
            else:
                reached.append(row)
        return reached

    def expires_at(self) -> datetime:
        """When it ends."""
        return timezone.now() + timedelta(days=self.cleaned_data["days"])


#: What a person must be allowed in the admin to let a token do it.
NEEDS = {
    "read": ("memory.read_caller",),
    "write": ("memory.correct_caller",),
    "erase": ("memory.erase_caller",),
    "admin": ("memory.read_caller", "memory.see_number", "memory.correct_caller", "memory.erase_caller"),
}
