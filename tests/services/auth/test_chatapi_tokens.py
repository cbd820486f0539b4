"""ChatAPI's tokens: the same bytes for as long as they live, and good for nothing else."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace

import pytest

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import KeptBearer, User
from streamproxy.errors import AuthenticationError
from streamproxy.services.auth import Authenticator
from streamproxy.services.bearers import Bearer, Bearers, Kind
from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.kept_bearers import SqlKeptBearers
from streamproxy.stores.sql.users import SqlUsers
from tests.services.auth.conftest import SECRET, Clock

# Signed with the tests' secret from the row below. When this changes a library writes other bytes for the same
# claims, and every caller who compares tokens meets a new one: then keep the old way, or say so in the changelog.
PINNED = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6ImNoYXRhcGkrand0In0."
    "eyJpc3MiOiJzdHJlYW1wcm94eSIsImF1ZCI6InN0cmVhbXByb3h5LWNoYXRhcGkiLCJzdWIiOiJ1XzEiLCJqdGkiOiJqdGktMSIs"
    "ImlhdCI6MTgwMDAwMDAwMCwiZXhwIjoxODAyNTkyMDAwfQ."
    "AYsTc4ncMjGOpM8WpSUyE60NYnjAQ9kjk7Yv3hXPWwI"
)
ROW = KeptBearer("jti-1", "u_1", "chatapi", issued=1_800_000_000, expires=1_802_592_000)


async def code_of(refused: Awaitable[object]) -> str:
    """The code with which a credential is refused."""
    with pytest.raises(AuthenticationError) as caught:
        await refused
    return caught.value.code


@pytest.fixture
def kept(database: Database) -> SqlKeptBearers:
    return SqlKeptBearers(database)


def _tokens(kept: SqlKeptBearers, clock: Clock, secret: bytes = SECRET) -> ChatApiTokens:
    return ChatApiTokens(kept, secret=secret, days=30, clock=clock)


@pytest.fixture
def tokens(kept: SqlKeptBearers, clock: Clock) -> ChatApiTokens:
    return _tokens(kept, clock)


async def test_a_token_is_the_same_bytes_from_every_worker_until_it_expires(
    tokens: ChatApiTokens, kept: SqlKeptBearers, clock: Clock, bob: User
) -> None:
    first = await tokens.issue(bob)
    assert first.new
    assert first.expires == int(clock()) + 30 * 86_400
    clock.now += 30 * 86_400 - 1
    again = await _tokens(kept, clock).issue(bob)
    assert (again.text, again.expires, again.new) == (first.text, first.expires, False)
    clock.now += 1
    replaced = await tokens.issue(bob)
    assert replaced.new
    assert replaced.text != first.text


async def test_the_bytes_do_not_depend_on_the_library_version(
    users: SqlUsers, kept: SqlKeptBearers, clock: Clock
) -> None:
    clock.now = float(ROW.issued)
    user = User("u_1", "pinned", Role.USER, disabled=False)
    await users.add(user)
    await kept.keep(ROW)
    assert (await _tokens(kept, clock).issue(user)).text == PINNED


async def test_its_holder_is_recognised_until_it_expires(tokens: ChatApiTokens, clock: Clock, bob: User) -> None:
    token = await tokens.issue(bob)
    principal = await tokens.authenticate(f"Bearer {token.text}")
    assert (principal.id, principal.name, principal.credential) == (bob.id, "bob", "bearer")
    clock.now += 30 * 86_400
    assert await code_of(tokens.authenticate(f"Bearer {token.text}")) == "expired_credential"


async def test_neither_opens_what_the_other_is_for(tokens: ChatApiTokens, auth: Authenticator, bob: User) -> None:
    """A bearer of ``token issue`` is no token of ChatAPI's, and the other way round."""
    token = await tokens.issue(bob)
    bearer = await auth.issue_bearer(bob, days=1)
    assert await code_of(auth.authenticate(f"Bearer {token.text}")) == "invalid_api_key"
    assert await code_of(auth.authenticate(None, cookie=token.text)) == "invalid_api_key"
    assert await code_of(tokens.authenticate(f"Bearer {bearer}")) == "unknown_token"
    assert (await auth.authenticate(f"Bearer {bearer}")).id == bob.id


async def test_another_kind_of_bearer_with_the_kept_id_is_none_of_them(
    tokens: ChatApiTokens, kept: SqlKeptBearers, clock: Clock, bob: User
) -> None:
    await kept.keep(replace(ROW, user_id=bob.id))
    forged = Bearers(SECRET, clock=clock).text(Bearer(Kind.ACCESS, bob.id, ROW.jti, ROW.expires), issued=ROW.issued)
    assert await code_of(tokens.authenticate(f"Bearer {forged}")) == "unknown_token"


async def test_with_another_secret_it_is_garbage(
    tokens: ChatApiTokens, kept: SqlKeptBearers, clock: Clock, bob: User
) -> None:
    token = await tokens.issue(bob)
    other = _tokens(kept, clock, secret=b"another secret of thirty-two bytes!")
    assert await code_of(other.authenticate(f"Bearer {token.text}")) == "invalid_api_key"
    assert (await other.authenticate(f"Bearer {(await other.issue(bob)).text}")).id == bob.id


@pytest.mark.parametrize("header", [None, "", "  ", "Bearer", "Basic eDp5", "Bearer x", "Bearer a.b.c", "x y z"])
async def test_no_credential_is_no_principal(tokens: ChatApiTokens, header: str | None) -> None:
    with pytest.raises(AuthenticationError):
        await tokens.authenticate(header)
