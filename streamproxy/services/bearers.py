"""Bearers: JSON Web Tokens that say who their holder is, RFC 7519, by the rules of RFC 8725.

One algorithm (HS256), one ``typ`` and one audience a kind, every claim required, times by an injected
clock. Pure: whether a bearer has been revoked is the store's to say.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jwt

from streamproxy.errors import ConfigurationError

ISSUER = "streamproxy"
# RFC 7518, 3.2: a key for HS256 is at least as long as its hash.
SHORTEST_SECRET = 32
# Ours are about 300 characters. Longer ones are refused before any work goes into them.
LONGEST_BEARER = 2048

_ALGORITHM = "HS256"
_CLAIMS = ["exp", "iat", "sub", "jti", "aud", "iss"]
# No padding: "token=" verifies too, and would be a second spelling of the same bearer.
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class InvalidBearerError(Exception):
    """Not a bearer of ours, whatever the reason."""


class ExpiredBearerError(Exception):
    """A bearer of ours, past its time."""


class Kind(Enum):
    """What a bearer is for, as its header's ``typ``. Its audience is its own, so none passes for another."""

    ACCESS = "at+jwt"
    GUEST = "guest+jwt"
    CHATAPI = "chatapi+jwt"
    TICKET = "ticket+jwt"

    @property
    def audience(self) -> str:
        return "streamproxy" if self is Kind.ACCESS else f"streamproxy-{self.value.removesuffix('+jwt')}"


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a bearer says. *subject* is a principal's id, *expires* in epoch seconds."""

    kind: Kind
    subject: str
    jti: str
    expires: int


def new_jti() -> str:
    """128 random bits: no two bearers share one."""
    return secrets.token_urlsafe(16)


class Bearers:
    """Signs and reads bearers. *clock* gives epoch seconds."""

    def __init__(self, secret: bytes, *, clock: Callable[[], float]) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"AUTH__SECRET has {len(secret)} bytes and needs {SHORTEST_SECRET}; make one with: openssl rand -hex 32"
            )
        self._secret = secret
        self._clock = clock
        # The times are checked here, by our clock and more strictly: PyJWT takes "1e3" and True for times.
        self._jwt = jwt.PyJWT(
            {
                "require": _CLAIMS,
                "verify_exp": False,
                "verify_iat": False,
                "strict_aud": True,
                "enforce_minimum_key_length": True,
            }
        )

    def sign(self, kind: Kind, subject: str, *, seconds: float) -> tuple[str, Bearer]:
        """A new bearer that lives for *seconds*, and what it says."""
        now = int(self._clock())
        bearer = Bearer(kind, subject, new_jti(), now + max(1, int(seconds)))
        return self.text(bearer, issued=now), bearer

    def text(self, bearer: Bearer, *, issued: int) -> str:
        """*bearer* as it is sent, signed: the same bytes each time. *issued* is in epoch seconds."""
        kind = bearer.kind
        claims: dict[str, Any] = {"iss": ISSUER, "aud": kind.audience, "sub": bearer.subject, "jti": bearer.jti}
        claims |= {"iat": issued, "exp": bearer.expires}
        return self._jwt.encode(claims, self._secret, _ALGORITHM, headers={"typ": kind.value})

    def read(self, text: str) -> Bearer:
        """What *text* says, once everything about it has been verified.

        InvalidBearerError, or ExpiredBearerError when its time is all that is wrong with it.
        """
        if len(text) > LONGEST_BEARER or _SHAPE.fullmatch(text) is None:
            raise InvalidBearerError
        try:
            kind = Kind(jwt.get_unverified_header(text).get("typ"))
            whole = self._jwt.decode_complete(
                text, self._secret, algorithms=[_ALGORITHM], audience=kind.audience, issuer=ISSUER
            )
        except (jwt.PyJWTError, ValueError) as exc:
            raise InvalidBearerError from exc
        return self._checked(kind, whole["payload"])

    def _checked(self, kind: Kind, claims: dict[str, Any]) -> Bearer:
        issued, expires = claims["iat"], claims["exp"]
        now = self._clock()
        if type(issued) is not int or type(expires) is not int or issued > now:
            raise InvalidBearerError
        if not _ID.fullmatch(claims["sub"]) or not _ID.fullmatch(claims["jti"]):
            raise InvalidBearerError
        if expires <= now:
            raise ExpiredBearerError
        return Bearer(kind, claims["sub"], claims["jti"], expires)
