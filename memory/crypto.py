"""Sealing what callers said: AES-256-GCM under a key of the caller's own, itself sealed under the house's key.

Envelope encryption: destroying a caller's data key makes every sealed text of theirs unreadable, in backups too. Each
sealed value is bound to its place (table, row, field), so one cannot be moved into another's row unnoticed.
Layout of a sealed value: one byte of version, 12 of nonce, then ciphertext with its 16 bytes of tag.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_HEAD_BYTES = len(_VERSION) + _NONCE_BYTES


class SealBroken(ValueError):
    """A sealed value that this key does not open, or that stands in another place than it was sealed for."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """One caller's key. Never printed, never stored but sealed by a ``Keyring``."""

    key: bytes = field(repr=False)

    def seal(self, text: str, place: str) -> bytes:
        """``text`` (any, lone surrogates included) sealed for ``place``."""
        return _seal(self.key, text.encode("utf-8", errors="surrogatepass"), place)

    def open(self, sealed: bytes | memoryview, place: str) -> str:
        """What was sealed. Raises ``SealBroken``."""
        return _open(self.key, bytes(sealed), place).decode("utf-8", errors="surrogatepass")

    def digest(self, text: str) -> str:
        """64 hex digits that stand for ``text`` among this caller's, and say nothing to who lacks the key."""
        key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"memory digest").derive(self.key)
        return hmac.new(key, text.encode("utf-8", errors="surrogatepass"), hashlib.sha256).hexdigest()


class Keyring:
    """The house's keys, from secrets of at least 32 characters: the first seals, all of them open.

    To change the key put the new one before the old one; ``sealed_anew`` moves a caller over.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        if not secrets or any(len(secret) < 32 for secret in secrets):
            raise ValueError("MEMORY_KEY must be one or more secrets of at least 32 characters, with commas between")
        self._keys = tuple(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"memory keys").derive(s.encode()) for s in secrets
        )

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys)"

    def new(self, owner: str) -> tuple[DataKey, bytes]:
        """A fresh key for the caller ``owner`` (an id), and its sealed form."""
        key = DataKey(os.urandom(_KEY_BYTES))
        return key, self.sealed(key, owner)

    def sealed(self, key: DataKey, owner: str) -> bytes:
        """A caller's key, sealed under the newest of ours."""
        return _seal(self._keys[0], key.key, f"key:{owner}")

    def sealed_anew(self, sealed: bytes | memoryview, owner: str) -> bytes | None:
        """A caller's sealed key under the newest of ours; ``None`` where it is that already. Raises ``SealBroken``."""
        key = self.open(sealed, owner)
        try:
            _open(self._keys[0], bytes(sealed), f"key:{owner}")
        except SealBroken:
            return self.sealed(key, owner)
        return None

    def open(self, sealed: bytes | memoryview, owner: str) -> DataKey:
        """The caller's key. Raises ``SealBroken`` where none of our keys opens it."""
        for key in self._keys:
            try:
                return DataKey(_open(key, bytes(sealed), f"key:{owner}"))
            except SealBroken:
                continue
        raise SealBroken("MEMORY_KEY does not open this caller's key: it was changed without keeping the old one")


def _seal(key: bytes, data: bytes, place: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, data, place.encode())


def _open(key: bytes, sealed: bytes, place: str) -> bytes:
    if sealed[:1] != _VERSION or len(sealed) < _HEAD_BYTES + 16:
        raise SealBroken("not a sealed value")
    try:
        return AESGCM(key).decrypt(sealed[1:_HEAD_BYTES], sealed[_HEAD_BYTES:], place.encode())
    except InvalidTag:
        raise SealBroken("the seal does not fit its key or its place") from None
