from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import KeptBearer, KeptBearers, User
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.kept_bearers import SqlKeptBearers
from streamproxy.stores.sql.users import SqlUsers

BOB = User(id="u_bob", name="bob", role=Role.USER, disabled=False)
EVE = User(id="u_eve", name="eve", role=Role.USER, disabled=False)
FIRST = KeptBearer("first", BOB.id, "chatapi", issued=1000, expires=2000)


@pytest.fixture
def kept(io_loop: IOLoop, database: Database, users: SqlUsers) -> SqlKeptBearers:
    for user in (BOB, EVE):
        io_loop.run_sync(lambda user=user: users.add(user))
    return SqlKeptBearers(database)


def test_fills_the_port(kept: SqlKeptBearers) -> None:
    """mypy holds SqlKeptBearers to the Protocol on this line."""
    port: KeptBearers = kept
    assert port is kept


async def test_the_first_is_handed_out_again_until_it_expires(kept: SqlKeptBearers) -> None:
    assert await kept.keep(FIRST) == FIRST
    assert await kept.keep(replace(FIRST, jti="second", issued=1999, expires=3000)) == FIRST
    third = replace(FIRST, jti="third", issued=2000, expires=3000)
    assert await kept.keep(third) == third
    assert await kept.kept_user("first", "chatapi") is None
    assert await kept.kept_user("third", "chatapi") == BOB


async def test_of_thirty_at_once_exactly_one_gets_its_own(kept: SqlKeptBearers) -> None:
    fresh = [replace(FIRST, jti=f"jti-{n}") for n in range(30)]
    answers = await asyncio.gather(*(kept.keep(bearer) for bearer in fresh))
    assert len(set(answers)) == 1
    assert sum(mine == got for mine, got in zip(fresh, answers, strict=True)) == 1


async def test_of_thirty_at_once_exactly_one_replaces_the_expired(kept: SqlKeptBearers) -> None:
    await kept.keep(replace(FIRST, jti="expired", expires=1000))
    fresh = [replace(FIRST, jti=f"jti-{n}") for n in range(30)]
    answers = await asyncio.gather(*(kept.keep(bearer) for bearer in fresh))
    assert len(set(answers)) == 1
    assert answers[0] in fresh


async def test_one_user_and_purpose_does_not_stand_in_anothers_way(kept: SqlKeptBearers) -> None:
    await kept.keep(FIRST)
    eves = replace(FIRST, jti="eve's", user_id=EVE.id)
    other = replace(FIRST, jti="other", purpose="something else")
    assert await kept.keep(eves) == eves
    assert await kept.keep(other) == other
    assert await kept.kept_user("other", "chatapi") is None


async def test_bearers_without_a_purpose_are_as_many_as_one_likes(
    kept: SqlKeptBearers, credentials: SqlCredentials
) -> None:
    """Those of ``token issue``: a user has many, and none of them is a kept one."""
    await kept.keep(FIRST)
    for jti in ("a", "b", "c"):
        await credentials.add_bearer(jti, BOB.id, 2000.0)
        assert await credentials.bearer_user(jti) == BOB
        assert await kept.kept_user(jti, "chatapi") is None
    assert await kept.kept_user("first", "chatapi") == BOB


async def test_a_revoked_or_disabled_one_is_nobodys(
    kept: SqlKeptBearers, credentials: SqlCredentials, users: SqlUsers
) -> None:
    await kept.keep(FIRST)
    await users.change(BOB.id, {"disabled": True})
    assert await kept.kept_user("first", "chatapi") is None
    await users.change(BOB.id, {"disabled": False})
    await credentials.revoke_bearers_of(BOB.id)
    assert await kept.kept_user("first", "chatapi") is None
    second = replace(FIRST, jti="second")
    assert await kept.keep(second) == second
