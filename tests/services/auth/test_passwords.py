from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type

from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError, BadRequestError, RateLimitError
from streamproxy.services.auth import Authenticator
from streamproxy.services.passwords import MOST_WAITING, Passwords
from streamproxy.stores.sql.users import SqlUsers
from tests.services.auth.conftest import CHEAP


class WatchedHasher(PasswordHasher):
    """The real hasher; it notes which hashes were verified and in which threads, and can be held up."""

    def __init__(self, **costs: Any) -> None:
        super().__init__(**(CHEAP | costs))
        self.verified: list[str] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002
        self.go.wait()
        self.verified.append(str(hash))
        self.threads.add(threading.current_thread().name)
        return super().verify(hash, password)


async def refused(auth: Authenticator, name: str, password: str) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        await auth.verify_password(name, password)
    return caught.value


async def test_the_right_password_is_the_users(auth: Authenticator, bob: User) -> None:
    assert await auth.verify_password("bob", "correct horse") == bob


@pytest.mark.parametrize(
    ("cost", "expected"), [("rfc9106", (Type.ID, 3, 64 * 1024, 4)), ("owasp", (Type.ID, 2, 19 * 1024, 1))]
)
async def test_a_password_is_kept_as_argon2id_of_the_cost_that_was_set(cost: str, expected: tuple[Any, ...]) -> None:
    """RFC 9106, section 4: 3 passes over 64 MiB with 4 lanes. OWASP's least memory: 2 over 19 MiB with one."""
    passwords = Passwords.of(cost)
    kept = extract_parameters(await passwords.hash("correct horse"))
    passwords.close()
    assert (kept.type, kept.time_cost, kept.memory_cost, kept.parallelism) == expected


@pytest.mark.parametrize("name", ["bob", "nobody", "", "x' OR 1=1 --", "nul\x00", "lone \ud800", "x" * 10_000])
async def test_every_failed_sign_in_gets_the_same_answer(auth: Authenticator, bob: User, name: str) -> None:
    error = await refused(auth, name, "wrong")
    assert (error.message, error.code) == ("Wrong name or password.", "invalid_credentials")


async def test_who_does_not_exist_costs_as_much_as_who_does(
    make_auth: Callable[..., Authenticator], users: SqlUsers, bob: User
) -> None:
    """Unknown, disabled and password-less accounts run one argon2 of the same costs; so nobody can list names."""
    hasher = WatchedHasher()
    auth = make_auth(passwords=Passwords(hasher))
    await auth.add_user("token only")
    await auth.disable(await auth.add_user("gone", password="correct horse"))
    for name in ("bob", "nobody", "token only", "gone", "bad\x00name"):
        await refused(auth, name, "wrong")
    costs = {str(replace(extract_parameters(kept), hash_len=0)) for kept in hasher.verified}
    assert (len(hasher.verified), len(costs)) == (5, 1)
    assert extract_parameters(hasher.verified[1]) == extract_parameters(bob.password_hash or "")


async def test_a_disabled_user_cannot_sign_in(auth: Authenticator, bob: User) -> None:
    await auth.disable(bob)
    await refused(auth, "bob", "correct horse")


def test_nobodys_hash_is_well_formed_and_matches_nothing() -> None:
    passwords = Passwords(PasswordHasher(**CHEAP))
    with pytest.raises(VerifyMismatchError):
        passwords._hasher.verify(passwords._nobodys_hash(), "")
    passwords.close()


async def test_a_hash_of_older_costs_is_renewed_at_sign_in(
    make_auth: Callable[..., Authenticator], users: SqlUsers, bob: User
) -> None:
    auth = make_auth(passwords=Passwords(PasswordHasher(**(CHEAP | {"time_cost": 2}))))
    renewed = await auth.verify_password("bob", "correct horse")
    assert extract_parameters(renewed.password_hash or "").time_cost == 2
    assert await users.by_id(bob.id) == renewed
    assert await auth.verify_password("bob", "correct horse") == renewed


@pytest.mark.parametrize("password", ["", "x" * 1025, "lone \ud800"])
async def test_a_password_is_1_to_1024_characters(auth: Authenticator, bob: User, password: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        await auth.hash_password(password)
    assert caught.value.param == "password"
    await refused(auth, "bob", password)


@pytest.mark.parametrize("password", ["x", "密码🔑", "x" * 1024, " blanks count ", "nul\x00"])
async def test_any_text_makes_a_password(auth: Authenticator, password: str) -> None:
    await auth.add_user("eve", password=password)
    assert (await auth.verify_password("eve", password)).name == "eve"
    await refused(auth, "eve", password + "x")


async def test_a_password_typed_on_another_keyboard_is_the_same(auth: Authenticator) -> None:
    """Composed and decomposed umlauts are one password, and one name."""
    await auth.add_user("J\u00fcrgen", password="gr\u00fcn")
    assert (await auth.verify_password("Ju\u0308rgen", "gru\u0308n")).name == "J\u00fcrgen"


async def test_hashing_never_runs_on_the_loop_and_two_at_once(bob: User) -> None:
    hasher = WatchedHasher()
    passwords = Passwords(hasher)
    await asyncio.gather(*(passwords.verify(bob.password_hash, "wrong") for _ in range(20)))
    passwords.close()
    assert hasher.threads <= {"password_0", "password_1"}


async def test_a_flood_of_sign_ins_is_turned_away(bob: User) -> None:
    """Beyond what runs and waits the answer is 429; who gave up waiting keeps the place until the work is done."""
    hasher = WatchedHasher()
    hasher.go.clear()
    passwords = Passwords(hasher)
    tasks = [asyncio.create_task(passwords.verify(bob.password_hash, "correct horse")) for _ in range(2 + MOST_WAITING)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(RateLimitError):
        await passwords.verify(bob.password_hash, "correct horse")
    hasher.go.set()
    assert await asyncio.gather(*tasks[1:]) == [True] * (1 + MOST_WAITING)
    assert await passwords.verify(bob.password_hash, "correct horse") is True
    passwords.close()
