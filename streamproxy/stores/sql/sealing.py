"""Encryption of what the database holds and must not show: Fernet, AES-128-CBC with HMAC-SHA256.

https://cryptography.io/en/latest/fernet/. Its key is derived (HKDF-SHA256, RFC 5869) from the installation's
secret, so that keys are encrypted without anybody setting anything; a database or a backup of it alone then
reveals no provider key. Whoever wants to change the signing secret and keep the stored keys sets
``auth.encryption_key``.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# Names what the derived key is for: bearers are signed with the same secret, and the two must not meet.
_PURPOSE = b"streamproxy: provider keys at rest"


class Seal:
    """Seals short texts under a key derived from *secret* (at least 32 random bytes)."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def close(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str | None:
        """The text; None when it was sealed under another secret, or has been altered."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None
