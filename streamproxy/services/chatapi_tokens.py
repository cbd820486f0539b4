"""Tokens of ChatAPI: one a user, handed out again byte for byte until it expires.

What is kept is the row of its claims; the token is signed from them each time, so the database holds no
credential, and the same claims and secret give the same bytes (a test pins them). A kind of its own: it opens
ChatAPI and nothing else, and no other bearer opens ChatAPI. Taking the row away revokes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamproxy.domain.identity import Principal
from streamproxy.domain.ports import KeptBearer, KeptBearers, User
from streamproxy.errors import AuthenticationError
from streamproxy.services.auth import DAY_SECONDS, bearer_of, unrecognised
from streamproxy.services.bearers import Bearer, Bearers, ExpiredBearerError, InvalidBearerError, Kind, new_jti

PURPOSE = "chatapi"
# The code of the refusal that says "no such token here" of a bearer that is otherwise good.
UNKNOWN_TOKEN = "unknown_token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class ChatApiToken:
    """A token as it is handed out. *expires* is in epoch seconds; *new* when it was made just now."""

    text: str
    expires: int
    new: bool


class ChatApiTokens:
    """Hands out and recognises ChatAPI's tokens, which live for *days*. *clock* gives epoch seconds."""

    def __init__(self, kept: KeptBearers, *, secret: bytes, days: float, clock: Callable[[], float]) -> None:
        self._kept = kept
        self._bearers = Bearers(secret, clock=clock)
        self._seconds = int(days * DAY_SECONDS)
        self._clock = clock

    async def issue(self, user: User) -> ChatApiToken:
        """The token of *user*: the live one, else a new one. Of calls at the same moment one makes it."""
        now = int(self._clock())
        fresh = KeptBearer(new_jti(), user.id, PURPOSE, issued=now, expires=now + self._seconds)
        kept = await self._kept.keep(fresh)
        bearer = Bearer(Kind.CHATAPI, kept.user_id, kept.jti, kept.expires)
        return ChatApiToken(self._bearers.text(bearer, issued=kept.issued), kept.expires, new=kept == fresh)

    async def authenticate(self, authorization: str | None) -> Principal:
        """Who sends this ``Authorization`` header.

        AuthenticationError with the code ``missing_credential``, ``invalid_api_key``, ``expired_credential``, or
        ``unknown_token`` for a bearer of ours that is not its user's token for ChatAPI.
        """
        if not authorization or not authorization.strip():
            raise AuthenticationError("Missing Authorization Header", code="missing_credential")
        try:
            bearer = self._bearers.read(bearer_of(authorization))
        except ExpiredBearerError as exc:
            raise AuthenticationError("Token has expired", code="expired_credential") from exc
        except InvalidBearerError as exc:
            raise unrecognised() from exc
        user = await self._kept.kept_user(bearer.jti, PURPOSE) if bearer.kind is Kind.CHATAPI else None
        if user is None or user.id != bearer.subject:
            raise AuthenticationError(
                "Token does not exist. Please contact the administrator to apply.", code=UNKNOWN_TOKEN
            )
        return Principal(user.id, user.name, user.role, "bearer", bearer.jti)
