"""Accounts and what they sign in with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

from streamproxy.domain.identity import Role


@dataclass(frozen=True, slots=True)
class User:
    """A person or program with an account. *password_hash* is argon2id or None (no password login)."""

    id: str
    name: str
    role: Role
    disabled: bool
    password_hash: str | None = None
    openid: str | None = None
    email: str | None = None
    questions_left: int | None = None
    created: float = 0.0


class UserChanges(TypedDict, total=False):
    """Fields of a User to change; one that is not there stays."""

    role: Role
    disabled: bool
    password_hash: str
    questions_left: int | None


class UserStore(Protocol):
    """Accounts. Names are unique, ConflictError when taken; NotFoundError when unknown."""

    async def add(self, user: User) -> None: ...

    async def by_name(self, name: str) -> User | None: ...

    async def by_id(self, user_id: str) -> User | None: ...

    async def by_openid(self, openid: str) -> User | None: ...

    async def page(self, *, after: str = "", limit: int = 100) -> Sequence[User]:
        """Users in order of name, those after the name *after*."""

    async def change(self, user_id: str, changes: UserChanges) -> None: ...

    async def set_password_hash(self, user_id: str, password_hash: str, *, replacing: str | None = None) -> None:
        """Keep *password_hash*; with *replacing*, only where that is still the one kept."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token as it is kept: never the token, only its hash."""

    id: str
    user_id: str
    user_name: str
    label: str
    last4: str
    created: float
    revoked: bool


class CredentialStore(Protocol):
    """Bearers by ``jti`` and API tokens by hash. A bearer is live while its row is there."""

    async def add_bearer(self, jti: str, user_id: str, expires: float) -> None: ...

    async def bearer_user(self, jti: str) -> User | None:
        """The user of a live bearer: not revoked, the user not disabled. None otherwise."""

    async def revoke_bearer(self, jti: str) -> bool: ...

    async def revoke_bearers_of(self, user_id: str) -> int: ...

    async def add_api_token(self, token: ApiToken, token_hash: bytes) -> None: ...

    async def api_token_user(self, token_hash: bytes) -> tuple[str, User] | None:
        """Token id and user of a live API token, None otherwise."""

    async def api_tokens(
        self, user_id: str | None = None, *, after: str = "", limit: int | None = None
    ) -> Sequence[ApiToken]:
        """In the order they were made: of one user when given, those after the token *after*, at most *limit*."""

    async def revoke_api_token(self, token_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class KeptBearer:
    """The only bearer that its user has for *purpose*. Times are whole epoch seconds: they are signed."""

    jti: str
    user_id: str
    purpose: str
    issued: int
    expires: int


class KeptBearers(Protocol):
    """Bearers of which a user has one a purpose, handed out again until it expires."""

    async def keep(self, fresh: KeptBearer) -> KeptBearer:
        """The live bearer of that user and purpose: the one kept before, else *fresh*, kept from now on.

        Of calls at the same moment exactly one gets its own back. One that has expired at ``fresh.issued`` is
        no longer live: it is replaced.
        """

    async def kept_user(self, jti: str, purpose: str) -> User | None:
        """The user who has this bearer for *purpose*, not disabled. None otherwise."""


class QuestionStore(Protocol):
    """The number of questions that a user has left (``User.questions_left``), None for any number."""

    async def reserve(self, user_id: str, request_id: str, *, now: float, until: float) -> bool:
        """Hold one question; False when those left are all held or used up. It frees itself at *until*."""

    async def settle(self, user_id: str, request_id: str) -> int | None:
        """The question was answered: use it up. How many are left after it, which no other answer is told.

        None where the user has any number.
        """

    async def refund(self, request_id: str) -> None:
        """Nothing was delivered: hold the question no longer."""
