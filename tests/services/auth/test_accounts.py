from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User
from streamproxy.errors import BadRequestError, ConflictError
from streamproxy.services.accounts import checked_name, new_api_token_id, new_guest_id, new_user_id
from streamproxy.services.auth import Authenticator
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.users import SqlUsers
from tests.services.auth.conftest import Clock


async def test_a_new_account_is_kept_as_it_was_given(auth: Authenticator, users: SqlUsers, clock: Clock) -> None:
    user = await auth.add_user(
        "李 雷", password="pw", role=Role.ADMIN, openid="wx-1", email="li@example.org", questions=8
    )
    assert await users.by_name("李 雷") == user
    assert re.fullmatch(r"u_[A-Za-z0-9_-]{16}", user.id)
    assert (user.role, user.openid, user.email, user.questions_left) == (Role.ADMIN, "wx-1", "li@example.org", 8)
    assert (user.created, user.disabled) == (clock.now, False)
    assert (user.password_hash or "").startswith("$argon2id$")


async def test_a_taken_name_is_a_conflict(auth: Authenticator, bob: User) -> None:
    with pytest.raises(ConflictError):
        await auth.add_user("bob")


@pytest.mark.parametrize(
    "fault",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": " bob"},
        {"name": "bob\u00a0"},
        {"name": "b\nob"},
        {"name": "b\x00ob"},
        {"name": "bob\u202e"},
        {"name": "\ud800"},
        {"openid": ""},
        {"openid": "x" * 129},
        {"email": ""},
        {"email": "bob"},
        {"email": "@example.org"},
        {"email": "bob@"},
        {"email": "b ob@example.org"},
        {"email": "x" * 250 + "@a.de"},
        {"questions": -1},
        {"questions": 2**31},
        {"password": ""},
        {"role": Role.GUEST},
    ],
    ids=str,
)
async def test_a_bad_field_is_named(auth: Authenticator, users: SqlUsers, fault: dict[str, Any]) -> None:
    """The answer says which field, and no account is made."""
    with pytest.raises(BadRequestError) as caught:
        await auth.add_user(**({"name": "bob"} | fault))
    assert caught.value.param == next(iter(fault))
    assert await users.page() == []


async def test_an_api_token_is_shown_once_and_kept_as_a_hash(
    auth: Authenticator, credentials: SqlCredentials, bob: User, clock: Clock
) -> None:
    text, token = await auth.issue_api_token(bob, label="laptop")
    assert re.fullmatch(r"sk-sp-[A-Za-z0-9_-]{43}", text)
    assert await credentials.api_tokens(bob.id) == [token]
    assert (token.user_name, token.label, token.last4, token.created) == ("bob", "laptop", text[-4:], clock.now)
    assert text not in repr(token)
    assert await credentials.api_token_user(hashlib.sha256(text.encode()).digest()) == (token.id, bob)


@pytest.mark.parametrize("label", ["x" * 65, "a\nb", "\x1b[31m", " "])
async def test_a_label_is_printable(auth: Authenticator, bob: User, label: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        await auth.issue_api_token(bob, label=label)
    assert caught.value.param == "label"


@given(st.text(max_size=80))
def test_a_name_is_taken_or_refused_and_checking_twice_changes_nothing(text: str) -> None:
    try:
        name = checked_name(text)
    except BadRequestError:
        return
    assert checked_name(name) == name
    assert 1 <= len(name) <= 64
    name.encode()


def test_every_id_says_what_it_is_and_fits_a_redis_key() -> None:
    for make, prefix in ((new_user_id, "u_"), (new_guest_id, "g_"), (new_api_token_id, "t_")):
        ids = {make() for _ in range(1000)}
        assert len(ids) == 1000
        assert all(re.fullmatch(prefix + r"[A-Za-z0-9_-]{16}", made) for made in ids)
