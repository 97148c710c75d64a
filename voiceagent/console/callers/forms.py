"""What operators type about an entry or a caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from memory.admin import forms as forms_of_rows
from memory.core.values import Kind
from memory.services.lines import MOST_FACT_CHARS

if TYPE_CHECKING:
    from voiceagent.console.callers.entries import Entry

#: What cannot be entered: it is what was said, or made of it.
_MADE = (Kind.UTTERANCE, Kind.SUMMARY)
_MOST_DAYS = 3_650
_MOST_REASON_CHARS = 500


class _Form(forms.Form):
    """Ids of fields are told apart by the form's own name: a page has several forms."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", f"{type(self).__name__.removesuffix('Form').lower()}-%s")
        super().__init__(*args, **kwargs)


def _reason(*, required: bool) -> forms.CharField:
    return forms.CharField(
        label="Reason" if required else "Reason (optional)",
        required=required,
        max_length=_MOST_REASON_CHARS,
        help_text="Stands in the audit log. Do not write what the caller said.",
    )


class _OfEntry(_Form):
    """A change of one entry: ``seen`` is the version that was looked at."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=60)


class SimpleForm(_OfEntry):
    """Pin, let expire, restore: nothing but a reason to type."""

    reason = _reason(required=False)


class ForgetForm(_OfEntry):
    """A reason is wanted: something is taken away."""

    reason = _reason(required=True)


class CorrectForm(_OfEntry):
    """What stands in an entry's place."""

    CHANGED, WRONG, OVER = "changed", "wrong", "over"

    text = forms.CharField(
        label="What is right",
        required=False,
        max_length=MOST_FACT_CHARS,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="In a slot the value alone: “before ten”. Empty where it is only not true any more.",
    )
    how = forms.ChoiceField(
        label="The old one",
        choices=[
            (CHANGED, "was true until now"),
            (WRONG, "was never true"),
            (OVER, "is not true any more, and nothing is in its place"),
        ],
        initial=CHANGED,
        widget=forms.RadioSelect,
    )
    reason = _reason(required=False)

    def clean(self) -> dict[str, Any]:
        """A text, unless nothing comes in its place."""
        values = super().clean() or {}
        if values.get("how") != self.OVER and not values.get("text"):
            self.add_error("text", "Say what is right.")
        return values


class AddForm(_Form):
    """A new entry. In a slot the value decides, and kind and wording are the slot's."""

    slot = forms.CharField(
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"list": "slots", "autocomplete": "off"}),
        help_text="Such as contact.time or relation.brother.allergy. Empty: an entry in its own words.",
    )
    text = forms.CharField(
        label="Value, or the entry in words", max_length=MOST_FACT_CHARS, widget=forms.Textarea(attrs={"rows": 2})
    )
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.value) for kind in Kind if kind not in _MADE],
        initial=Kind.FACT.value,
        help_text="Counts for an entry without a slot.",
    )
    reason = _reason(required=False)


class PairForm(_Form):
    """Two entries, each with the version that was looked at; the first one stays."""

    stays = forms.UUIDField(widget=forms.HiddenInput)
    goes = forms.UUIDField(widget=forms.HiddenInput)
    stays_seen = forms.CharField(widget=forms.HiddenInput, max_length=60)
    goes_seen = forms.CharField(widget=forms.HiddenInput, max_length=60)
    reason = _reason(required=False)


class KeepingForm(_Form):
    """Whether and how long a caller is remembered."""

    unwanted = forms.BooleanField(required=False, label="Do not remember this caller")
    days = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_MOST_DAYS,
        label="Keep what is said for (days)",
        help_text="Empty: until erased.",
    )
    reason = _reason(required=False)


class ProbeForm(_Form):
    """What the caller might say."""

    text = forms.CharField(
        label="The caller says",
        max_length=2_000,
        widget=forms.TextInput(attrs={"placeholder": "Can I have my usual table?", "autocomplete": "off"}),
    )


class EraseForm(forms_of_rows.EraseForm, _Form):
    """As in the admin, with a reason, and what holds from then on."""

    digits = forms.CharField(
        label="Last four digits of the number",
        max_length=8,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )
    unwanted = forms.BooleanField(required=False, label="And do not remember this caller in future calls")
    reason = _reason(required=True)


def for_entry(entry: Entry) -> dict[str, _OfEntry]:
    """A form for each action that an entry can take, by the action's name."""
    seen = {"seen": entry.fact.version}

    def named(form: type[_OfEntry], name: str) -> _OfEntry:
        return form(initial={**seen, "text": entry.right}, auto_id=f"{name}-%s")

    if entry.state == "forgotten":
        return {"restore": named(SimpleForm, "restore")}
    forget = {"forget": named(ForgetForm, "forget")}
    if not entry.stands:
        return forget
    pin = "unpin" if entry.fact.pinned_at else "pin"
    expire = {} if entry.state == "expired" else {"expire": named(SimpleForm, "expire")}
    return {"correct": named(CorrectForm, "correct"), pin: named(SimpleForm, pin), **expire, **forget}
