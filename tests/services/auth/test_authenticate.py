from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Principal, Role
from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError
from streamproxy.services.auth import Authenticator
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.credentials import SqlCredentials
from tests.services.auth.conftest import Clock


async def refusal(auth: Authenticator, authorization: str | None, *, cookie: str | None = None) -> str:
    """The code with which this credential is refused."""
    with pytest.raises(AuthenticationError) as caught:
        await auth.authenticate(authorization, cookie=cookie)
    return caught.value.code


@pytest.fixture
def queries(database: Database) -> list[str]:
    """Every SELECT from now on."""
    seen: list[str] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    return seen


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", " Bearer "])
async def test_a_bearer_is_recognised_whatever_the_case_of_the_scheme(
    auth: Authenticator, bob: User, scheme: str
) -> None:
    token = await auth.issue_bearer(bob, days=30)
    principal = await auth.authenticate(f"{scheme} {token} ")
    assert principal == Principal(bob.id, "bob", Role.USER, "bearer", principal.credential_id)


async def test_an_api_token_is_recognised(auth: Authenticator, bob: User) -> None:
    text, token = await auth.issue_api_token(bob, label="laptop")
    assert await auth.authenticate(f"Bearer {text}") == Principal(bob.id, "bob", Role.USER, "api_token", token.id)


async def test_a_cookie_holds_a_bearer_and_the_header_wins(auth: Authenticator, bob: User) -> None:
    eve = await auth.add_user("eve", role=Role.ADMIN)
    cookie = await auth.issue_bearer(eve, days=1)
    header = await auth.issue_bearer(bob, days=1)
    assert (await auth.authenticate(None, cookie=cookie)).credential == "cookie"
    assert (await auth.authenticate(None, cookie=cookie)).role is Role.ADMIN
    assert (await auth.authenticate(f"Bearer {header}", cookie=cookie)).name == "bob"
    assert await refusal(auth, "Bearer wrong", cookie=cookie) == "invalid_api_key"


@pytest.mark.parametrize("authorization", [None, "", "  ", "Bearer", "bearer "])
async def test_no_credential_is_told_how_to_send_one(auth: Authenticator, authorization: str | None) -> None:
    assert await refusal(auth, authorization, cookie="") == "missing_credential"


async def test_an_api_token_is_no_cookie(auth: Authenticator, bob: User) -> None:
    text, _ = await auth.issue_api_token(bob)
    assert await refusal(auth, None, cookie=text) == "invalid_api_key"


async def test_every_wrong_credential_gets_the_same_answer(auth: Authenticator, bob: User) -> None:
    """Neither the message nor the code tells what was wrong: the shape, the signature or the row."""
    revoked, token = await auth.issue_api_token(bob)
    await auth._credentials.revoke_api_token(token.id)
    unknown = "sk-sp-" + "A" * 43
    answers = set()
    for text in (revoked, unknown, "sk-sp-short", "sk-openai", "a.b.c", "wrong", "x" * 100_000):
        with pytest.raises(AuthenticationError) as caught:
            await auth.authenticate(f"Bearer {text}")
        answers.add((caught.value.message, caught.value.code))
    assert len(answers) == 1
    assert await refusal(auth, "Basic Ym9iOmNvcnJlY3Q=") == "invalid_api_key"


async def test_a_busy_caller_costs_one_query_in_the_life_of_the_cache(
    auth: Authenticator, bob: User, clock: Clock, queries: list[str]
) -> None:
    """100 requests within 2 s are one query; after that there is another."""
    for text in (await auth.issue_bearer(bob, days=1), (await auth.issue_api_token(bob))[0]):
        queries.clear()
        for _ in range(100):
            await auth.authenticate(f"Bearer {text}")
        assert len(queries) == 1
        clock.now += 2.0
        await auth.authenticate(f"Bearer {text}")
        assert len(queries) == 2


async def test_revocation_is_seen_when_the_cache_has_run_out(
    auth: Authenticator, credentials: SqlCredentials, bob: User, clock: Clock
) -> None:
    bearer = await auth.issue_bearer(bob, days=1)
    text, token = await auth.issue_api_token(bob)
    principal = await auth.authenticate(f"Bearer {bearer}")
    await auth.authenticate(f"Bearer {text}")
    await credentials.revoke_bearer(principal.credential_id)
    await credentials.revoke_api_token(token.id)
    clock.now += 2.0
    assert await refusal(auth, f"Bearer {bearer}") == "invalid_api_key"
    assert await refusal(auth, f"Bearer {text}") == "invalid_api_key"


async def test_without_a_cache_revocation_is_seen_at_once(
    make_auth: Callable[..., Authenticator], credentials: SqlCredentials, bob: User
) -> None:
    auth = make_auth(cache_seconds=0.0)
    bearer = await auth.issue_bearer(bob, days=1)
    principal = await auth.authenticate(f"Bearer {bearer}")
    await credentials.revoke_bearer(principal.credential_id)
    assert await refusal(auth, f"Bearer {bearer}") == "invalid_api_key"


async def test_the_cache_never_outlives_the_bearer(
    make_auth: Callable[..., Authenticator], bob: User, clock: Clock
) -> None:
    auth = make_auth(cache_seconds=3600.0)
    bearer = await auth.issue_bearer(bob, days=10 / 86400)
    await auth.authenticate(f"Bearer {bearer}")
    clock.now += 10.0
    assert await refusal(auth, f"Bearer {bearer}") == "expired_credential"


async def test_a_clock_set_back_does_not_prolong_the_cache(
    auth: Authenticator, credentials: SqlCredentials, bob: User, clock: Clock
) -> None:
    bearer = await auth.issue_bearer(bob, days=1)
    clock.now += 3600.0
    principal = await auth.authenticate(f"Bearer {bearer}")
    await credentials.revoke_bearer(principal.credential_id)
    clock.now -= 1800.0
    assert await refusal(auth, f"Bearer {bearer}") == "invalid_api_key"


async def test_a_disabled_user_is_out_at_once_here_and_soon_elsewhere(
    make_auth: Callable[..., Authenticator], bob: User, clock: Clock
) -> None:
    """On the worker that disables at once, on another when its cache has run out; the bearers are gone for good."""
    here, elsewhere = make_auth(), make_auth()
    bearer = await here.issue_bearer(bob, days=1)
    text, _ = await here.issue_api_token(bob)
    for worker in (here, elsewhere):
        for credential in (bearer, text):
            await worker.authenticate(f"Bearer {credential}")
    await here.disable(bob)
    clock_at_once = clock.now
    for credential in (bearer, text):
        assert await refusal(here, f"Bearer {credential}") == "invalid_api_key"
    clock.now = clock_at_once + 2.0
    for credential in (bearer, text):
        assert await refusal(elsewhere, f"Bearer {credential}") == "invalid_api_key"
    await here._users.change(bob.id, {"disabled": False})
    assert await refusal(here, f"Bearer {bearer}") == "invalid_api_key"
    assert (await here.authenticate(f"Bearer {text}")).name == "bob"


async def test_an_over_long_credential_is_refused_before_any_work(auth: Authenticator, queries: list[str]) -> None:
    """100 kB cost no query, no signature and no digest."""
    for text in ("sk-sp-" + "A" * 100_000, "a" * 50_000 + "." + "b" * 50_000 + "." + "c" * 43, "A" * 100_000):
        assert await refusal(auth, f"Bearer {text}") == "invalid_api_key"
        assert await refusal(auth, None, cookie=text) == "invalid_api_key"
    assert queries == []


async def test_guesses_fill_nothing(auth: Authenticator) -> None:
    """Only those who were recognised are remembered."""
    for number in range(50):
        await refusal(auth, f"Bearer sk-sp-{number:043d}")
    assert auth._recent._known == {}


async def test_guests_are_recognised_where_they_are_welcome(make_auth: Callable[..., Authenticator]) -> None:
    """Each guest is somebody of their own, without a row; a guest's bearer is worth nothing elsewhere."""
    open_house, closed_house = make_auth(guest=True), make_auth()
    first, second = [await open_house.issue_guest() for _ in range(2)]
    guests = [await open_house.authenticate(None, cookie=text) for text in (first, second)]
    assert {guest.role for guest in guests} == {Role.GUEST}
    assert guests[0].id != guests[1].id
    assert all(guest.id.startswith("g_") and len(guest.id) == 18 for guest in guests)
    assert await refusal(closed_house, None, cookie=first) == "invalid_api_key"


def _credentials() -> st.SearchStrategy[str]:
    part = st.text(st.characters(codec="ascii"), max_size=40)
    jwt_like = st.builds("{}.{}.{}".format, part, part, st.text("abcXYZ019_-=", min_size=40, max_size=46))
    token_like = st.builds("sk-sp-{}".format, st.text("abcXYZ019_-", min_size=40, max_size=46))
    scheme = st.sampled_from(["Bearer ", "bearer  ", "Basic ", "", "Bearer\t", "Bearer\x00"])
    return st.builds("{}{}".format, scheme, st.one_of(st.text(), jwt_like, token_like))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(value=_credentials(), in_cookie=st.booleans())
def test_no_value_at_all_raises_anything_but_authentication_error(
    auth: Authenticator, io_loop: IOLoop, value: str, in_cookie: bool
) -> None:
    async def attempt() -> None:
        with pytest.raises(AuthenticationError):
            await auth.authenticate(None if in_cookie else value, cookie=value if in_cookie else None)

    io_loop.run_sync(attempt)
