"""Sign-ins for strangers: what counts, and for whom. The limits are the ones that stand in for Redis."""

from __future__ import annotations

import asyncio
import itertools
from zoneinfo import ZoneInfo

import pytest

from streamproxy.domain.limits import LimitPolicy, Window
from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError, RateLimitError, StoreUnavailableError, StreamProxyError
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.auth import Authenticator
from streamproxy.services.signins import SignIns
from streamproxy.stores.local import LocalLimits
from tests.services.auth.conftest import Clock

_requests = itertools.count(1)


@pytest.fixture
def sign_ins(auth: Authenticator, clock: Clock) -> SignIns:
    """Three failures a minute and account, five a minute and address."""
    limits = LocalLimits(workers=1, zone=ZoneInfo("UTC"), clock=clock)
    admission = Admission(limits, fallback=limits, policy=LimitPolicy(), on_redis_down=OnRedisDown.LOCAL)
    return SignIns(
        auth,
        admission,
        by_account=LimitPolicy(requests=(Window(3, 60),)),
        by_address=LimitPolicy(requests=(Window(5, 60),)),
    )


async def attempt(sign_ins: SignIns, name: str, password: str, address: str = "192.0.2.1") -> str:
    """How it ends: the name of the user, or the code of the refusal."""
    try:
        user = await sign_ins.verify(name, password, address=address, request_id=f"r{next(_requests)}")
    except StreamProxyError as error:
        return error.code
    return user.name


async def test_the_right_password_of_an_account_gives_its_user(sign_ins: SignIns, bob: User) -> None:
    assert await sign_ins.verify("bob", "correct horse", address="::1", request_id="r") == bob


async def test_failures_close_an_account_until_they_are_old(sign_ins: SignIns, bob: User, clock: Clock) -> None:
    for _ in range(3):
        assert await attempt(sign_ins, "bob", "wrong") == "invalid_credentials"
    with pytest.raises(RateLimitError) as refused:
        await sign_ins.verify("bob", "correct horse", address="192.0.2.2", request_id="r")
    assert refused.value.retry_after is not None
    clock.now += refused.value.retry_after
    assert await attempt(sign_ins, "bob", "correct horse") == "bob"


async def test_failures_close_the_door_to_an_address_whatever_the_accounts(sign_ins: SignIns, bob: User) -> None:
    for number in range(5):
        assert await attempt(sign_ins, f"nobody-{number}", "wrong") == "invalid_credentials"
    assert await attempt(sign_ins, "bob", "correct horse") == "too_many_sign_ins"
    assert await attempt(sign_ins, "bob", "correct horse", "192.0.2.2") == "bob"


async def test_of_ten_guesses_at_once_three_are_looked_at(sign_ins: SignIns, bob: User) -> None:
    guesses = [attempt(sign_ins, "bob", f"guess {n}", f"192.0.2.{n}") for n in range(10)]
    codes = await asyncio.gather(*guesses)
    assert (codes.count("invalid_credentials"), codes.count("too_many_sign_ins")) == (3, 7)


async def test_of_thirty_right_ones_at_once_all_are_let_in(sign_ins: SignIns, bob: User) -> None:
    """From different addresses, and then as many as are allowed to fail from one."""
    right = [attempt(sign_ins, "bob", "correct horse", f"192.0.2.{n}") for n in range(30)]
    assert await asyncio.gather(*right) == ["bob"] * 30
    assert await asyncio.gather(*(attempt(sign_ins, "bob", "correct horse") for _ in range(5))) == ["bob"] * 5
    assert await attempt(sign_ins, "bob", "wrong") == "invalid_credentials"


async def test_every_spelling_of_a_name_is_one_account(sign_ins: SignIns, auth: Authenticator) -> None:
    """Sign-in takes both (NFC): else a guesser had twice the tries."""
    await auth.add_user("J\u00fcrgen", password="correct horse")
    for name in ("J\u00fcrgen", "Ju\u0308rgen", "J\u00fcrgen"):
        assert await attempt(sign_ins, name, "wrong") == "invalid_credentials"
    assert await attempt(sign_ins, "Ju\u0308rgen", "correct horse") == "too_many_sign_ins"


async def test_a_try_that_nobody_looked_at_does_not_count(
    sign_ins: SignIns, auth: Authenticator, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away: that says nothing about the password."""

    async def away(name: str, password: str) -> User:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(auth, "verify_password", away)
        for _ in range(9):
            assert await attempt(sign_ins, "bob", "correct horse") == "store_unavailable"
    with pytest.raises(AuthenticationError):
        await sign_ins.verify("bob", "wrong", address="192.0.2.1", request_id="r")
