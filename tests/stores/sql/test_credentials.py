from __future__ import annotations

from dataclasses import replace

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import ApiToken, CredentialStore, User
from streamproxy.errors import ConflictError
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.users import SqlUsers

BOB = User(id="u_bob", name="bob", role=Role.USER, disabled=False)
EVE = User(id="u_eve", name="eve", role=Role.USER, disabled=False)
TOKEN = ApiToken("t_1", BOB.id, BOB.name, "laptop", "wxyz", 5.0, revoked=False)
HASH = bytes(range(32))


@pytest.fixture
def _people(io_loop: IOLoop, users: SqlUsers) -> None:
    for user in (BOB, EVE):
        io_loop.run_sync(lambda user=user: users.add(user))


pytestmark = pytest.mark.usefixtures("_people")


def test_fills_the_port(credentials: SqlCredentials) -> None:
    """mypy holds SqlCredentials to the Protocol on this line."""
    port: CredentialStore = credentials
    assert port is credentials


async def test_a_bearer_is_live_until_it_is_revoked(credentials: SqlCredentials) -> None:
    await credentials.add_bearer("jti-1", BOB.id, 2000.0)
    assert await credentials.bearer_user("jti-1") == BOB
    assert await credentials.revoke_bearer("jti-1") is True
    assert await credentials.bearer_user("jti-1") is None
    assert await credentials.revoke_bearer("jti-1") is False


async def test_an_unknown_bearer_has_no_user(credentials: SqlCredentials) -> None:
    assert await credentials.bearer_user("jti-unknown") is None


async def test_all_bearers_of_one_user_are_revoked_and_nobody_elses(credentials: SqlCredentials) -> None:
    for jti, user in (("a", BOB), ("b", BOB), ("c", EVE)):
        await credentials.add_bearer(jti, user.id, 2000.0)
    assert await credentials.revoke_bearers_of(BOB.id) == 2
    assert [await credentials.bearer_user(jti) for jti in "abc"] == [None, None, EVE]


async def test_a_disabled_user_has_no_live_credential(users: SqlUsers, credentials: SqlCredentials) -> None:
    await credentials.add_bearer("jti-1", BOB.id, 2000.0)
    await credentials.add_api_token(TOKEN, HASH)
    await users.change(BOB.id, {"disabled": True})
    assert await credentials.bearer_user("jti-1") is None
    assert await credentials.api_token_user(HASH) is None


async def test_expired_rows_go_when_their_user_gets_the_next_bearer(credentials: SqlCredentials) -> None:
    """A program that signs in every minute for a year leaves a bounded number of rows."""
    await credentials.add_bearer("expired", BOB.id, 1000.0)
    await credentials.add_bearer("other's", EVE.id, 1000.0)
    await credentials.add_bearer("new", BOB.id, 2000.0)
    assert await credentials.revoke_bearers_of(BOB.id) == 1
    assert await credentials.revoke_bearers_of(EVE.id) == 1


async def test_a_bearer_for_an_unknown_user_is_refused(credentials: SqlCredentials) -> None:
    with pytest.raises(ConflictError):
        await credentials.add_bearer("jti-1", "u_nobody", 2000.0)


async def test_an_api_token_is_found_by_its_hash_until_it_is_revoked(credentials: SqlCredentials) -> None:
    await credentials.add_api_token(TOKEN, HASH)
    assert await credentials.api_token_user(HASH) == (TOKEN.id, BOB)
    assert await credentials.api_token_user(bytes(32)) is None
    assert await credentials.revoke_api_token(TOKEN.id) is True
    assert await credentials.api_token_user(HASH) is None
    assert await credentials.revoke_api_token(TOKEN.id) is False
    assert await credentials.api_tokens() == [replace(TOKEN, revoked=True)]


async def test_api_tokens_are_listed_in_the_order_they_were_made(credentials: SqlCredentials) -> None:
    later = replace(TOKEN, id="t_0", created=6.0)
    eves = ApiToken("t_2", EVE.id, EVE.name, "", "aaaa", 7.0, revoked=False)
    for number, token in enumerate((eves, later, TOKEN)):
        await credentials.add_api_token(token, bytes([number]) * 32)
    assert await credentials.api_tokens() == [TOKEN, later, eves]
    assert await credentials.api_tokens(BOB.id) == [TOKEN, later]


async def test_two_api_tokens_never_share_a_hash(credentials: SqlCredentials) -> None:
    await credentials.add_api_token(TOKEN, HASH)
    with pytest.raises(ConflictError):
        await credentials.add_api_token(replace(TOKEN, id="t_2"), HASH)


async def test_api_tokens_come_in_pages(credentials: SqlCredentials) -> None:
    """Two made at the same moment are told apart by their ids."""
    made = [replace(TOKEN, id=f"t_{number}", created=float(number // 2)) for number in range(5)]
    for number, token in enumerate(made):
        await credentials.add_api_token(token, bytes([number]) * 32)
    assert await credentials.api_tokens(limit=2) == made[:2]
    assert await credentials.api_tokens(after="t_2", limit=2) == made[3:]
    assert await credentials.api_tokens(after="t_4") == []
    assert await credentials.api_tokens(after="t_never") == []
