"""The brain of the model's stand-in: a data-driven dialogue policy that knows only what a request carries."""

from voiceagent.sandbox.persona.policy import respond

__all__ = ["respond"]
