"""An Authenticator on a real SQLite database, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import User
from streamproxy.services.auth import Authenticator
from streamproxy.services.passwords import Passwords
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.migrations import migrate
from streamproxy.stores.sql.users import SqlUsers

SECRET = b"the tests' own secret: 32 bytes or more"
# As cheap as argon2 goes: what the costs are is not what these tests are about.
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


class Clock:
    """Epoch seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.5

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
def users(database: Database) -> SqlUsers:
    return SqlUsers(database)


@pytest.fixture
def credentials(database: Database, clock: Clock) -> SqlCredentials:
    return SqlCredentials(database, clock=clock)


@pytest.fixture
def make_auth(users: SqlUsers, credentials: SqlCredentials, clock: Clock) -> Iterator[Callable[..., Authenticator]]:
    """Builds Authenticators on the same database: each is one worker."""
    made: list[Authenticator] = []

    def make(**changes: Any) -> Authenticator:
        settings: dict[str, Any] = {
            "secret": SECRET,
            "clock": clock,
            "passwords": Passwords(PasswordHasher(**CHEAP)),
        }
        made.append(Authenticator(users, credentials, **(settings | changes)))
        return made[-1]

    yield make
    for auth in made:
        auth.close()


@pytest.fixture
def auth(make_auth: Callable[..., Authenticator]) -> Authenticator:
    return make_auth()


@pytest.fixture
def bob(auth: Authenticator, io_loop: IOLoop) -> User:
    user: User = io_loop.run_sync(lambda: auth.add_user("bob", password="correct horse"))
    return user
