"""The memory's tables. Rows are written by ``memory.services`` only; text in them is sealed (``memory.crypto``)."""

from memory.models.access import Access, ApiToken
from memory.models.caller import Caller, Card, Conversation, Utterance
from memory.models.fact import Memory, MemoryEvent, Source
from memory.models.keeping import ErasureRequest, Tombstone

__all__ = [
    "Access",
    "ApiToken",
    "Caller",
    "Card",
    "Conversation",
    "ErasureRequest",
    "Memory",
    "MemoryEvent",
    "Source",
    "Tombstone",
    "Utterance",
]
