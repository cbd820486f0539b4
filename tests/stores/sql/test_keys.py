"""Provider keys in SQL: encrypted, with their limits, and what people took out of use."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from streamproxy.domain.limits import DayQuota, LimitPolicy, Window
from streamproxy.domain.ports import StoredKey
from streamproxy.errors import ConflictError
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.stores.sql.models import keys as table
from streamproxy.stores.sql.sealing import Seal

SECRET = "sk-live-0123456789abcdefWXYZ"
SEAL = Seal(b"a secret of at least thirty-two bytes")
KEY = StoredKey("k1", "openai", SECRET, "WXYZ", weight=3, created=1000.0)


@pytest.fixture
def keys(database: Database) -> SqlKeys:
    return SqlKeys(database, SEAL, clock=lambda: 2000.0)


async def test_a_key_comes_back_as_it_was_added(keys: SqlKeys) -> None:
    own = LimitPolicy((Window(500, 60), DayQuota(1000)), (Window(90_000, 60),), 4)
    limited = StoredKey("k2", "azure", "another-secret-text", "text", limits=own)
    await keys.add(KEY)
    await keys.add(limited)
    assert await keys.all() == [KEY, StoredKey("k2", "azure", "another-secret-text", "text", limits=own, created=2000)]


async def test_the_database_holds_no_key_in_the_clear(keys: SqlKeys, database: Database) -> None:
    await keys.add(KEY)
    async with database.read() as connection:
        row = (await connection.execute(select(table))).one()
    assert SECRET.encode() not in row.secret
    assert SECRET not in str(row)
    assert SECRET not in repr(await keys.all())


async def test_a_key_sealed_under_another_secret_is_listed_and_useless(keys: SqlKeys, database: Database) -> None:
    await keys.add(KEY)
    (found,) = await SqlKeys(database, Seal(b"another secret of thirty-two bytes!!")).all()
    assert (found.id, found.last4, found.secret) == ("k1", "WXYZ", None)


async def test_a_key_is_there_once(keys: SqlKeys) -> None:
    await keys.add(KEY)
    with pytest.raises(ConflictError, match="WXYZ"):
        await keys.add(KEY)


async def test_a_removed_key_is_gone_and_no_longer_held(keys: SqlKeys) -> None:
    await keys.add(KEY)
    await keys.hold("k1")
    assert await keys.remove("k1") is True
    assert (await keys.all(), await keys.held()) == ([], frozenset())
    assert await keys.remove("k1") is False


async def test_a_held_key_stays_held_until_it_is_released(keys: SqlKeys) -> None:
    """Also one of the settings, which has no row of its own."""
    await keys.hold("from-the-settings")
    await keys.hold("from-the-settings")
    assert await keys.held() == {"from-the-settings"}
    assert await keys.release("from-the-settings") is True
    assert await keys.release("from-the-settings") is False
    assert await keys.held() == frozenset()


def test_what_was_altered_opens_as_little_as_what_was_never_sealed() -> None:
    sealed = bytearray(SEAL.close(SECRET))
    assert SEAL.open(bytes(sealed)) == SECRET
    sealed[20] ^= 1
    assert SEAL.open(bytes(sealed)) is None
    assert SEAL.open(b"never sealed") is None
