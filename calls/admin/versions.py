"""Versions of agents as people read them: every value with its name, and what one version changed against another."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import label_for_field
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from calls.core.policy import TurnPolicy
from calls.models import Agent
from calls.phrase_fields import SITUATIONS
from calls.policy_fields import POLICY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calls.models import AgentVersion

_USUAL = TurnPolicy()
_PLAIN = (
    "name",
    "instructions",
    "greeting",
    "returning_greeting",
    "voice",
    "language",
    "model",
    "goodbye_text",
    "transfer_to",
)


def values(version: AgentVersion | None) -> dict[str, str]:
    """A version's values by what they are called, lists one per line; nothing for what is not there."""
    profile = version.profile if version and isinstance(version.profile, dict) else {}
    policy = profile.get("policy")
    policy = policy if isinstance(policy, dict) else {}
    named = {_label(name): _text(profile[name]) for name in _PLAIN if name in profile}
    named["Tools"] = "\n".join(_text(tool.get("name")) for tool in _dicts(profile.get("tools")))
    named[_label("idle_texts")] = _text(profile.get("idle_texts"))
    named[_label("phrases")] = "\n".join(f"{_situation(key)}: {text}" for key, text in _pairs(profile.get("phrases")))
    return named | {f"{p.group}: {p.label}": _tuned(p.name, policy[p.name]) for p in POLICY_FIELDS if p.name in policy}


def changed(before: AgentVersion | None, version: AgentVersion) -> dict[str, tuple[str, str]]:
    """What differs, by name: the text before and after."""
    old, new = values(before), values(version)
    return {
        name: (old.get(name, ""), new.get(name, ""))
        for name in [*new, *(name for name in old if name not in new)]
        if old.get(name, "") != new.get(name, "")
    }


def names_of_changes(before: AgentVersion | None, version: AgentVersion) -> str:
    """The same in one line, by name only."""
    if before is None:
        return "first version"
    return ", ".join(changed(before, version)) or "a function's description"


def shown_values(version: AgentVersion) -> str:
    """All values as a list."""
    shown = ((name, text or "–") for name, text in values(version).items())
    return _list((name, format_html('<span class="lines">{}</span>', text)) for name, text in shown)


def shown_changes(before: AgentVersion | None, version: AgentVersion) -> str:
    """What differs as a list: lines that went and lines that came."""
    if before is None:
        return "first version"
    found = changed(before, version)
    if not found:
        return names_of_changes(before, version)
    return _list((name, _difference(*texts)) for name, texts in found.items())


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return format_html('<dl class="values">{}</dl>', format_html_join("", "<dt>{}</dt><dd>{}</dd>", rows))


def _difference(old: str, new: str) -> str:
    """Lines that went, lines that came, and a mark where lines stayed."""
    before, after = old.splitlines(), new.splitlines()
    parts: list[SafeString] = []
    for what, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            parts.append(mark_safe('<span class="same">⋯</span>'))
            continue
        parts += [format_html("<del>{}</del>", line or "(empty line)") for line in before[a:b]]
        parts += [format_html("<ins>{}</ins>", line or "(empty line)") for line in after[c:d]]
    return format_html('<span class="difference">{}</span>', format_html_join("", "{}", ((part,) for part in parts)))


def _situation(key: str) -> str:
    return SITUATIONS[key].label if key in SITUATIONS else key


def _pairs(value: Any) -> list[tuple[str, str]]:
    """Key and text of each phrase, where that is what is stored."""
    return [(str(item[0]), str(item[1])) for item in value if len(item) == 2] if isinstance(value, list) else []


def _label(name: str) -> str:
    text = str(label_for_field(name, Agent))
    return text[:1].upper() + text[1:]


def _tuned(name: str, value: Any) -> str:
    """A value of the policy, beside the usual one where somebody changed it."""
    usual = getattr(_USUAL, name)
    return _text(value) if value == usual else f"{_text(value)} (usually {_text(usual)})"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "\n".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
