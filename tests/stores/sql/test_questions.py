from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import QuestionStore, User
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.questions import SqlQuestions
from streamproxy.stores.sql.users import SqlUsers

BOB = User(id="u_bob", name="bob", role=Role.USER, disabled=False, questions_left=3)
NOW, LATER = 1000.0, 1100.0


@pytest.fixture
def questions(io_loop: IOLoop, database: Database, users: SqlUsers) -> SqlQuestions:
    io_loop.run_sync(lambda: users.add(BOB))
    return SqlQuestions(database)


async def _left(users: SqlUsers, user_id: str = BOB.id) -> int | None:
    user = await users.by_id(user_id)
    assert user is not None
    return user.questions_left


def test_fills_the_port(questions: SqlQuestions) -> None:
    """mypy holds SqlQuestions to the Protocol on this line."""
    port: QuestionStore = questions
    assert port is questions


async def test_questions_are_used_up_one_by_one(questions: SqlQuestions, users: SqlUsers) -> None:
    for number, left in enumerate((2, 1, 0)):
        assert await questions.reserve(BOB.id, f"r{number}", now=NOW, until=LATER)
        assert await questions.settle(BOB.id, f"r{number}") == left
    assert not await questions.reserve(BOB.id, "r3", now=NOW, until=LATER)
    assert await _left(users) == 0


async def test_a_refunded_question_can_be_asked_again(questions: SqlQuestions, users: SqlUsers) -> None:
    for _ in range(5):
        assert await questions.reserve(BOB.id, "r", now=NOW, until=LATER)
        await questions.refund("r")
    assert await _left(users) == 3


async def test_thirty_at_once_hold_no_more_than_there_are(questions: SqlQuestions, users: SqlUsers) -> None:
    asked = [questions.reserve(BOB.id, f"r{n}", now=NOW, until=LATER) for n in range(30)]
    held = [f"r{n}" for n, got in enumerate(await asyncio.gather(*asked)) if got]
    assert len(held) == 3
    assert sorted(await asyncio.gather(*(questions.settle(BOB.id, r) for r in held)), key=str) == [0, 1, 2]
    assert await _left(users) == 0


async def test_no_two_answers_are_told_one_number_whatever_is_refunded_between(questions: SqlQuestions) -> None:
    """The first reserved fails after the second: a count that went down at once would say 1 twice."""
    for request in ("first", "second"):
        assert await questions.reserve(BOB.id, request, now=NOW, until=LATER)
    told = [await questions.settle(BOB.id, "second")]
    await questions.refund("first")
    assert await questions.reserve(BOB.id, "third", now=NOW, until=LATER)
    told.append(await questions.settle(BOB.id, "third"))
    assert told == [2, 1]


async def test_what_a_killed_worker_held_is_free_again_in_time(questions: SqlQuestions) -> None:
    for number in range(3):
        assert await questions.reserve(BOB.id, f"lost-{number}", now=NOW, until=LATER)
    assert not await questions.reserve(BOB.id, "r", now=LATER - 0.001, until=LATER + 100)
    assert await questions.reserve(BOB.id, "r", now=LATER, until=LATER + 100)


async def test_a_request_that_outlived_its_reservation_makes_nothing_negative(
    questions: SqlQuestions, users: SqlUsers
) -> None:
    for number in range(3):
        assert await questions.reserve(BOB.id, f"slow-{number}", now=NOW, until=LATER)
        assert await questions.reserve(BOB.id, f"quick-{number}", now=LATER, until=LATER + 100)
    for number in range(3):
        await questions.settle(BOB.id, f"quick-{number}")
        await questions.settle(BOB.id, f"slow-{number}")
    assert await _left(users) == 0


async def test_nobody_uses_up_the_questions_of_another(questions: SqlQuestions, users: SqlUsers) -> None:
    await users.add(replace(BOB, id="u_eve", name="eve"))
    for number in range(3):
        assert await questions.reserve("u_eve", f"r{number}", now=NOW, until=LATER)
    assert await questions.reserve(BOB.id, "bob's", now=NOW, until=LATER)
    await questions.settle("u_eve", "r0")
    assert await _left(users) == 3


async def test_a_user_without_a_number_asks_any_number(questions: SqlQuestions, users: SqlUsers) -> None:
    await users.add(replace(BOB, id="u_any", name="any", questions_left=None))
    for number in range(5):
        assert await questions.reserve("u_any", f"r{number}", now=NOW, until=LATER)
        assert await questions.settle("u_any", f"r{number}") is None
    assert await _left(users, "u_any") is None


async def test_an_unknown_or_disabled_user_has_no_question(questions: SqlQuestions, users: SqlUsers) -> None:
    await users.change(BOB.id, {"disabled": True})
    assert not await questions.reserve(BOB.id, "r", now=NOW, until=LATER)
    assert not await questions.reserve("u_nobody", "r", now=NOW, until=LATER)
