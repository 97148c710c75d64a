"""What an assistant may be told to remember during a call: only what the caller said. Pure."""

from __future__ import annotations

from memory.core import rules
from memory.core.distil import worded


def refusal(text: str, said: str, language: str = "en") -> str:
    """Why ``text``, in the model's words, may not be remembered of a caller who said ``said``; empty where it may."""
    if rules.instructs(text, language=language):
        return "that is an instruction, not a fact about the caller"
    if not worded(text, said):
        return "the caller did not say that: remember only what they said, in their own words"
    return ""
