from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User, UserStore
from streamproxy.errors import BadRequestError, ConflictError, NotFoundError
from streamproxy.stores.sql.users import SqlUsers

ALICE = User(
    id="u_alice",
    name="Alice",
    role=Role.ADMIN,
    disabled=False,
    password_hash="$argon2id$...",
    openid="wx-1",
    email="alice@example.org",
    questions_left=8,
    created=1700000000.123456,
)
BOB = User(id="u_bob", name="bob", role=Role.USER, disabled=False)


def test_fills_the_port(users: SqlUsers) -> None:
    """mypy holds SqlUsers to the Protocol on this line."""
    port: UserStore = users
    assert port is users


async def test_a_user_reads_back_as_written(users: SqlUsers) -> None:
    """Every field comes back as the very value that was kept, the time to the last bit."""
    await users.add(ALICE)
    await users.add(BOB)
    assert await users.by_name("Alice") == ALICE
    assert await users.by_id("u_bob") == BOB


async def test_an_unknown_user_is_none(users: SqlUsers) -> None:
    assert await users.by_name("nobody") is None
    assert await users.by_id("u_nobody") is None


async def test_a_name_is_taken_once(users: SqlUsers) -> None:
    await users.add(BOB)
    with pytest.raises(ConflictError, match="'bob' is taken"):
        await users.add(replace(BOB, id="u_other"))


async def test_an_openid_belongs_to_one_user(users: SqlUsers) -> None:
    await users.add(ALICE)
    with pytest.raises(ConflictError, match="openid"):
        await users.add(replace(ALICE, id="u_other", name="Other"))


async def test_names_that_differ_in_case_are_two_names(users: SqlUsers) -> None:
    await users.add(BOB)
    await users.add(replace(BOB, id="u_other", name="Bob"))
    assert await users.by_name("Bob") != await users.by_name("bob")


async def test_pages_go_through_all_users_in_the_same_order_on_every_database(users: SqlUsers) -> None:
    names = ["Zoe", "adam", "Ägidius", "李雷", "eve"]
    for name in names:
        await users.add(User(id=f"u_{name}", name=name, role=Role.USER, disabled=False))
    first = await users.page(limit=3)
    rest = await users.page(after=first[-1].name, limit=3)
    assert [user.name for user in [*first, *rest]] == sorted(names, key=str.encode)


async def test_disabling_and_enabling_are_seen(users: SqlUsers) -> None:
    await users.add(BOB)
    await users.change(BOB.id, {"disabled": True})
    assert await users.by_id(BOB.id) == replace(BOB, disabled=True)
    await users.change(BOB.id, {"disabled": False})
    assert await users.by_id(BOB.id) == BOB


async def test_a_change_to_an_unknown_user_is_not_found(users: SqlUsers) -> None:
    with pytest.raises(NotFoundError):
        await users.change("u_nobody", {"disabled": True})
    with pytest.raises(NotFoundError):
        await users.set_password_hash("u_nobody", "hash")


async def test_a_password_hash_is_replaced_only_while_it_is_the_one_expected(users: SqlUsers) -> None:
    """A hash renewed at sign-in never undoes a password that was changed meanwhile."""
    await users.add(BOB)
    await users.set_password_hash(BOB.id, "second")
    await users.set_password_hash(BOB.id, "renewed first", replacing="first")
    assert await users.by_id(BOB.id) == replace(BOB, password_hash="second")
    await users.set_password_hash(BOB.id, "renewed second", replacing="second")
    assert await users.by_id(BOB.id) == replace(BOB, password_hash="renewed second")


async def test_a_name_is_a_value_never_a_part_of_the_statement(users: SqlUsers) -> None:
    await users.add(BOB)
    assert await users.by_name("x' UNION SELECT * FROM users --") is None
    assert await users.by_name("b%") is None


@pytest.mark.parametrize("name", ["lone \ud800 surrogate", "nul \x00"])
async def test_a_name_that_no_database_can_hold_never_becomes_a_driver_error(users: SqlUsers, name: str) -> None:
    with contextlib.suppress(BadRequestError):
        assert await users.by_name(name) is None


async def test_a_user_is_found_by_openid(users: SqlUsers) -> None:
    await users.add(replace(BOB, openid="o-bob"))
    assert await users.by_openid("o-bob") == replace(BOB, openid="o-bob")
    assert await users.by_openid("o-nobody") is None
    assert await users.by_openid("x' UNION SELECT 1,'admin','pw','a','b' -- ") is None


async def test_a_change_leaves_the_other_fields_alone(users: SqlUsers) -> None:
    await users.add(BOB)
    await users.change(BOB.id, {})
    assert await users.by_id(BOB.id) == BOB
    await users.change(BOB.id, {"role": Role.ADMIN, "questions_left": 3})
    assert await users.by_id(BOB.id) == replace(BOB, role=Role.ADMIN, questions_left=3)
    await users.change(BOB.id, {"questions_left": None, "disabled": True})
    assert await users.by_id(BOB.id) == replace(BOB, role=Role.ADMIN, questions_left=None, disabled=True)
    with pytest.raises(NotFoundError):
        await users.change("u_nobody", {"disabled": True})
