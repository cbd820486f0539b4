"""Who a request acts for: bearers, API tokens, passwords, guests.

A credential that is not recognised says no more than that: neither which part was wrong nor whether the
account exists. When the store does not answer nobody is recognised (StoreUnavailableError), except
guests, who have no row, and whoever was recognised within the last ``cache_seconds``.

Revoking a credential or disabling a user is seen by other workers within ``cache_seconds``.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from streamproxy.domain.identity import Principal, Role
from streamproxy.domain.ports import ApiToken, CredentialStore, User, UserChanges, UserStore
from streamproxy.errors import AuthenticationError, BadRequestError, PermissionDeniedError
from streamproxy.services import accounts
from streamproxy.services.bearers import LONGEST_BEARER, Bearers, ExpiredBearerError, InvalidBearerError, Kind
from streamproxy.services.passwords import Passwords
from streamproxy.services.principals import PrincipalCache

DAY_SECONDS = 86400.0
LONGEST_BEARER_DAYS = 3660.0
GUEST_DAYS = 30.0

# A prefix of its own, so that secret scanners can find a token that leaked.
API_TOKEN_PREFIX = "sk-sp-"  # noqa: S105
_API_TOKEN = re.compile(API_TOKEN_PREFIX + r"[A-Za-z0-9_-]{43}")
_GUEST_ID = re.compile(r"g_[A-Za-z0-9_-]{16}")


class Authenticator:
    """Recognises principals, and gives out and withdraws what they are recognised by.

    *secret* signs bearers: at least 32 bytes, else ConfigurationError. *guest* accepts guest bearers.
    *clock* gives epoch seconds. Call ``close`` at the end: it owns threads.
    """

    def __init__(
        self,
        users: UserStore,
        credentials: CredentialStore,
        *,
        secret: bytes,
        guest: bool = False,
        cache_seconds: float = 2.0,
        clock: Callable[[], float] = time.time,
        passwords: Passwords,
    ) -> None:
        self._users = users
        self._credentials = credentials
        self._bearers = Bearers(secret, clock=clock)
        self._guest = guest
        self._recent = PrincipalCache(seconds=cache_seconds, clock=clock)
        self._clock = clock
        self._passwords = passwords

    async def authenticate(self, authorization: str | None, *, cookie: str | None = None) -> Principal:
        """The principal of a request.

        *authorization* is the header's value (``Bearer <bearer or API token>``), *cookie* a bearer; the
        header wins when it is there. AuthenticationError with the code ``missing_credential``,
        ``invalid_api_key`` or ``expired_credential``.
        """
        if authorization and authorization[:7] == "Bearer ":
            # As nearly everybody spells it; bearer_of reads all spellings.
            how, text = "bearer", authorization[7:].strip()
        elif authorization and authorization.strip():
            how, text = "bearer", bearer_of(authorization)
        else:
            how, text = "cookie", (cookie or "").strip()
        known = self._recent.get(how, text)
        if known is not None:
            return known
        if not text:
            raise AuthenticationError(
                "No credential: send the header 'Authorization: Bearer <token>'.", code="missing_credential"
            )
        if len(text) > LONGEST_BEARER:
            raise unrecognised()
        is_token = how == "bearer" and text.startswith(API_TOKEN_PREFIX)
        look_up = partial(self._by_api_token, text) if is_token else partial(self._by_bearer, how, text)
        return await self._recent.found(how, text, look_up)

    async def issue_bearer(self, user: User, *, days: float) -> str:
        """A bearer for *user*, live until it expires or is revoked."""
        if not 0 < days <= LONGEST_BEARER_DAYS:
            raise BadRequestError(f"days must be more than 0 and at most {LONGEST_BEARER_DAYS:g}", param="days")
        text, bearer = self._bearers.sign(Kind.ACCESS, user.id, seconds=days * DAY_SECONDS)
        await self._credentials.add_bearer(bearer.jti, user.id, bearer.expires)
        return text

    async def issue_guest(self) -> str:
        """A bearer for a new guest: an identity of its own without an account, so it cannot be revoked."""
        if not self._guest:
            raise PermissionDeniedError("Guests are not welcome here: sign in.", code="guests_off")
        return self._bearers.sign(Kind.GUEST, accounts.new_guest_id(), seconds=GUEST_DAYS * DAY_SECONDS)[0]

    async def issue_api_token(self, user: User, *, label: str = "") -> tuple[str, ApiToken]:
        """A new API token, to be shown once, and what is kept of it."""
        text = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(
            id=accounts.new_api_token_id(),
            user_id=user.id,
            user_name=user.name,
            label=accounts.checked_label(label),
            last4=text[-4:],
            created=self._clock(),
            revoked=False,
        )
        await self._credentials.add_api_token(token, _digest(text))
        return text, token

    async def hash_password(self, password: str) -> str:
        """The hash to keep of *password*; BadRequestError when it is empty or too long."""
        return await self._passwords.hash(password)

    async def verify_password(self, name: str, password: str) -> User:
        """The user called *name*, when that is the password; AuthenticationError otherwise, after the same time."""
        user = await self._named(name)
        kept = None if user is None or user.disabled else user.password_hash
        if not await self._passwords.verify(kept, password) or user is None or kept is None:
            raise AuthenticationError("Wrong name or password.", code="invalid_credentials")
        if not self._passwords.outdated(kept):
            return user
        renewed = await self._passwords.hash(password)
        # Only in place of the one just verified: the password may have been changed meanwhile.
        await self._users.set_password_hash(user.id, renewed, replacing=kept)
        return replace(user, password_hash=renewed)

    async def add_user(
        self,
        name: str,
        *,
        password: str | None = None,
        role: Role = Role.USER,
        openid: str | None = None,
        email: str | None = None,
        questions: int | None = None,
    ) -> User:
        """A new account. BadRequestError names what is wrong in ``param``, ConflictError when the name is taken."""
        user = await self.new_user(name, password=password, role=role, openid=openid, email=email, questions=questions)
        await self._users.add(user)
        return user

    async def new_user(
        self,
        name: str,
        *,
        password: str | None = None,
        role: Role = Role.USER,
        openid: str | None = None,
        email: str | None = None,
        questions: int | None = None,
    ) -> User:
        """The account as ``add_user`` would make it, checked and not kept."""
        if role is Role.GUEST:
            raise BadRequestError("role must be user or admin: guests have no account", param="role")
        return User(
            id=accounts.new_user_id(),
            name=accounts.checked_name(name),
            role=role,
            disabled=False,
            openid=None if openid is None else accounts.checked_openid(openid),
            email=None if email is None else accounts.checked_email(email),
            questions_left=None if questions is None else accounts.checked_questions(questions),
            password_hash=None if password is None else await self._passwords.hash(password),
            created=self._clock(),
        )

    async def change(self, user: User, changes: UserChanges) -> None:
        """Change the account. Who is disabled or gets a new password is signed out everywhere, for good."""
        await self._users.change(user.id, changes)
        if changes.get("disabled") or "password_hash" in changes:
            await self._credentials.revoke_bearers_of(user.id)
        self._recent.clear()

    async def disable(self, user: User) -> None:
        """Shut *user* out: no sign-in, every bearer revoked for good; API tokens rest while it lasts."""
        await self.change(user, {"disabled": True})

    async def revoke_bearers(self, user: User) -> int:
        """Sign *user* out everywhere; how many bearers there were."""
        revoked = await self._credentials.revoke_bearers_of(user.id)
        self._recent.clear()
        return revoked

    async def revoke_bearer(self, text: str) -> bool:
        """Sign out whoever holds the bearer *text*; False when it opened nothing."""
        try:
            bearer = self._bearers.read(text)
        except (InvalidBearerError, ExpiredBearerError):
            return False
        revoked = await self._credentials.revoke_bearer(bearer.jti)
        self._recent.clear()
        return revoked

    async def revoke_api_token(self, token_id: str) -> bool:
        """False when there is no live API token of that id."""
        revoked = await self._credentials.revoke_api_token(token_id)
        self._recent.clear()
        return revoked

    def close(self) -> None:
        self._passwords.close()

    async def _by_api_token(self, text: str) -> Principal:
        # SHA-256 without salt or cost is right here, unlike for a password: 256 random bits cannot be
        # guessed however fast each try is, and a hash that is its own index finds the row in one query.
        found = await self._credentials.api_token_user(_digest(text)) if _API_TOKEN.fullmatch(text) else None
        if found is None:
            raise unrecognised()
        token_id, user = found
        principal = Principal(user.id, user.name, user.role, "api_token", token_id)
        # As what it came: that it is a token its own text says.
        self._recent.put("bearer", text, principal)
        return principal

    async def _by_bearer(self, how: str, text: str) -> Principal:
        try:
            bearer = self._bearers.read(text)
        except ExpiredBearerError as exc:
            raise AuthenticationError("The credential has expired; sign in again.", code="expired_credential") from exc
        except InvalidBearerError as exc:
            raise unrecognised() from exc
        if bearer.kind is Kind.GUEST:
            if not self._guest or _GUEST_ID.fullmatch(bearer.subject) is None:
                raise unrecognised()
            return Principal(bearer.subject, "guest", Role.GUEST, how, bearer.jti)
        if bearer.kind is not Kind.ACCESS:
            raise unrecognised()
        user = await self._credentials.bearer_user(bearer.jti)
        if user is None or user.id != bearer.subject:
            raise unrecognised()
        principal = Principal(user.id, user.name, user.role, how, bearer.jti)
        self._recent.put(how, text, principal, expires=bearer.expires)
        return principal

    async def _named(self, name: str) -> User | None:
        try:
            return await self._users.by_name(accounts.checked_name(name))
        except BadRequestError:
            return None


def bearer_of(authorization: str) -> str:
    """The credential in an ``Authorization`` header, RFC 6750, 2.1. The scheme's case does not matter."""
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise unrecognised()
    return text.strip()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def unrecognised() -> AuthenticationError:
    """What is said of every credential that is not good, whatever is wrong with it."""
    return AuthenticationError("The credential is not valid: it is wrong, or it was revoked. Sign in again.")
