"""Who a request acts for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal may do: a guest and a user chat, an admin also steers."""

    GUEST = "guest"
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity that sessions, limits, history and usage belong to.

    *id* is stable and matches ``[A-Za-z0-9_-]{1,64}``, so it can stand in a Redis key as it is.
    *name* is for people. *credential* says how the principal was recognised (``bearer``,
    ``api_token``, ``cookie``), *credential_id* which one it was (a bearer's ``jti``).
    """

    id: str
    name: str
    role: Role
    credential: str
    credential_id: str
