"""Who asks at /message, and what becomes of a reserved question. How they are counted is the store's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Principal, Role
from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError, QuotaError, UpstreamError
from streamproxy.services.questions import ANY_NUMBER, Questions
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.migrations import migrate
from streamproxy.stores.sql.questions import SqlQuestions
from streamproxy.stores.sql.users import SqlUsers

BOB = User("u_bob", "bob", Role.USER, disabled=False, openid="o-bob", questions_left=2)
EVE = User("u_eve", "eve", Role.USER, disabled=True, openid="o-eve")
ANN = User("u_ann", "ann", Role.USER, disabled=False, openid="o-ann")
PRINCIPAL = Principal("u_bob", "bob", Role.USER, "bearer", "jti")
HOLD = 125.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(io_loop: IOLoop, sqlite_url: str) -> Iterator[Database]:
    migrate(sqlite_url)
    database = io_loop.run_sync(lambda: open_sql(sqlite_url))
    yield database
    io_loop.run_sync(database.close)


@pytest.fixture
def questions(io_loop: IOLoop, database: Database, clock: Clock) -> Questions:
    users = SqlUsers(database)
    for user in (BOB, EVE, ANN):
        io_loop.run_sync(lambda user=user: users.add(user))
    return Questions(users, SqlQuestions(database), hold_seconds=HOLD, clock=clock)


async def test_whoever_claims_their_own_openid_stays_who_they_are(questions: Questions) -> None:
    assert await questions.asker("o-bob", claimed_by=PRINCIPAL) == PRINCIPAL


@pytest.mark.parametrize("openid", ["o-ann", "o-eve", "o-nobody", "", "u_bob", "bob", "O-BOB", "o-bob\x00"])
async def test_an_openid_that_is_not_the_callers_is_refused(questions: Questions, openid: str) -> None:
    with pytest.raises(AuthenticationError):
        await questions.asker(openid, claimed_by=PRINCIPAL)


async def test_a_believed_openid_is_its_users(questions: Questions) -> None:
    """But not a disabled user's."""
    assert (await questions.asker("o-ann", claimed_by=None)).id == ANN.id
    for openid in ("o-eve", "o-nobody"):
        with pytest.raises(AuthenticationError):
            await questions.asker(openid, claimed_by=None)


async def test_an_answer_uses_the_question_up(questions: Questions) -> None:
    for left in (1, 0):
        async with questions.reserved(PRINCIPAL, f"r{left}") as question:
            assert await question.answered() == left
    with pytest.raises(QuotaError) as refused:
        async with questions.reserved(PRINCIPAL, "r"):
            pytest.fail("there was no question left")
    assert refused.value.retry_after


async def test_whatever_ends_without_an_answer_gives_it_back(questions: Questions) -> None:
    for number in range(5):
        with pytest.raises(UpstreamError):
            async with questions.reserved(PRINCIPAL, f"failing-{number}"):
                raise UpstreamError("no")
        async with questions.reserved(PRINCIPAL, f"leaving-{number}"):
            pass
    async with questions.reserved(PRINCIPAL, "r") as question:
        assert await question.answered() == 1


async def test_a_killed_worker_gives_it_back_when_no_request_can_run_any_more(
    questions: Questions, database: Database, clock: Clock
) -> None:
    store = SqlQuestions(database)
    for number in range(2):
        assert await store.reserve(BOB.id, f"killed-{number}", now=clock.now, until=clock.now + HOLD)
    clock.now += HOLD - 1
    with pytest.raises(QuotaError):
        async with questions.reserved(PRINCIPAL, "early"):
            pytest.fail("both are held")
    clock.now += 1
    async with questions.reserved(PRINCIPAL, "late") as question:
        assert await question.answered() == 1


async def test_who_has_no_number_is_told_the_largest(questions: Questions) -> None:
    ann = Principal(ANN.id, "ann", Role.USER, "bearer", "jti")
    async with questions.reserved(ann, "r") as question:
        assert await question.answered() == ANY_NUMBER
