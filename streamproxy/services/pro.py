"""Who calls ``/pro``: by bearer, by an API token in the body, or with a provider key of their own.

A provider key is used for its call only. Nothing of it is stored or logged: who brings one without a bearer is
known by a keyed hash, so that a conversation has an owner.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from streamproxy.domain.identity import Principal, Role
from streamproxy.errors import AuthenticationError
from streamproxy.services.auth import API_TOKEN_PREFIX, Authenticator

# It goes into a header as it is, so it may hold nothing that ends one (RFC 9110, 5.5).
_PROVIDER_KEY = re.compile(r"[\x21-\x7e]{8,512}")
# What begins like a credential of ours is never sent to a provider, whether it is valid or not. JWTs begin with eyJ.
_OURS = (API_TOKEN_PREFIX, "eyJ")
_SESSION_BYTES = 24


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the provider key to use for it when they brought one."""

    principal: Principal
    own_key: str | None = field(default=None, repr=False)


class ProAccess:
    """Recognises callers. *passthrough* lets provider keys through; *secret* keys the hash of those."""

    def __init__(self, auth: Authenticator, *, passthrough: bool, secret: bytes) -> None:
        self._auth = auth
        self._passthrough = passthrough
        self._secret = secret

    async def caller(self, authorization: str | None, api_key: str | None) -> Caller:
        """The caller by the Authorization field, by *api_key*, or by both, which must then agree.

        AuthenticationError when neither is good, and ``credentials_disagree`` when they name different users.
        """
        bearer = await self._auth.authenticate(authorization) if authorization or not api_key else None
        if not api_key:
            assert bearer is not None  # noqa: S101  # authenticate() raises on a missing credential
            return Caller(bearer)
        if self._passthrough and not api_key.startswith(_OURS) and _PROVIDER_KEY.fullmatch(api_key):
            return Caller(bearer or self._stranger(api_key), api_key)
        holder = await self._auth.authenticate(f"Bearer {api_key}")
        if bearer is not None and bearer.id != holder.id:
            raise AuthenticationError(
                "apiKey and the Authorization header belong to different users.", code="credentials_disagree"
            )
        return Caller(holder)

    def _stranger(self, key: str) -> Principal:
        digest = hmac.digest(self._secret, b"provider key " + key.encode(), "sha256")
        return Principal(f"k_{_text(digest[:12])}", "own key", Role.GUEST, "provider_key", "")


def session_of(name: str) -> str:
    """The session that callers of ``/pro`` call *name*, whatever characters that has.

    No X-Session-Id has a slash: these sessions and those of other ways in never meet.
    """
    return f"pro/{_text(hashlib.sha256(name.encode()).digest()[:_SESSION_BYTES])}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
