"""The proxies that the tests of the older systems share, and accounts made straight in their databases.

- ``compat_proxy``: every default of ``[compat]``.
- ``former_proxy``: what restores the originals, every other setting of theirs changed, and a single provider key.
- ``message_proxy``: serves ``/message`` alone and has a single provider key, which tests may lose.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User
from streamproxy.services.auth import Authenticator
from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.services.passwords import Passwords
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.kept_bearers import SqlKeptBearers
from streamproxy.stores.sql.models import bearers, messages, usage
from streamproxy.stores.sql.users import SqlUsers
from tests.support.http import Client
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess

MODELS = "gpt-3.5-turbo,gpt-4o-mini,scripted"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def compat_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(UPSTREAM__MODELS=MODELS)


@pytest.fixture(scope="session")
def former_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(
        UPSTREAM__MODELS=MODELS,
        UPSTREAM__API_KEYS="sk-planted-former-1a2b3c4d5e6f7081",
        LIMITS__TIMEZONE="Asia/Shanghai",
        AUTH__SIGN_IN_FAILURES_PER_ADDRESS="5/5min",
        COMPAT__MESSAGE_STATUS="200",
        COMPAT__MESSAGE_TRUST_OPENID="true",
        COMPAT__MESSAGE_MODEL="scripted",
        COMPAT__MESSAGE_TEMPERATURE="0.25",
        COMPAT__MESSAGE_MAX_TOKENS="77",
        COMPAT__MESSAGE_SECONDS="1",
        COMPAT__CHATAPI_DAILY_LIMIT="2",
        COMPAT__CHATAPI_MODEL="scripted",
        COMPAT__CHATAPI_LONGEST_QUERY="10",
        COMPAT__SIMPLE_CHAT_LIMITS="20/calendar-day",
        COMPAT__SIMPLE_CHAT_LIMIT_STATUS="401",
        COMPAT__SIMPLE_CHAT_MODEL="scripted",
        COMPAT__SIMPLE_CHAT_REGISTRATION="false",
        COMPAT__SIMPLE_CHAT_ADVANCED_PROMPT="Be kind.",
        COMPAT__PRO_MODEL="scripted",
        COMPAT__PRO_PASSTHROUGH_KEYS="true",
        MODELS__PRICES="scripted=1000/500/2000",
    )


@pytest.fixture(scope="session")
def message_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(
        UPSTREAM__MODELS=MODELS, UPSTREAM__API_KEYS="sk-planted-lone-9a8b7c6d5e4f3021", COMPAT__ENDPOINTS="message"
    )


class Accounts:
    """Accounts of one proxy. A command a user would cost a second each."""

    def __init__(self, proxy: ProxyProcess, database: Database) -> None:
        self.database = database
        self.users = SqlUsers(database)
        secret = proxy.secret.encode()
        self.auth = Authenticator(self.users, SqlCredentials(database), secret=secret, passwords=Passwords.of("owasp"))
        self._tokens = ChatApiTokens(SqlKeptBearers(database), secret=secret, days=30, clock=time.time)

    async def user(
        self, *, password: str | None = None, openid: str | None = None, questions: int | None = None
    ) -> User:
        """A new user with a name of its own."""
        name = f"caller-{next(_numbers)}"
        return await self.auth.add_user(name, password=password, openid=openid, questions=questions, role=Role.USER)

    async def bearer(self, user: User) -> str:
        return await self.auth.issue_bearer(user, days=1)

    async def chatapi_token(self, user: User) -> str:
        """What POST /token would hand out."""
        return (await self._tokens.issue(user)).text

    async def left(self, user: User) -> int | None:
        """How many questions the user has left."""
        found = await self.users.by_id(user.id)
        assert found is not None
        return found.questions_left

    async def expire_bearers(self, user: User, *, at: float) -> None:
        """As if the time of the user's bearers were over: the rows say so."""
        async with self.database.write() as connection:
            await connection.execute(update(bearers).where(bearers.c.user_id == user.id).values(expires=at))

    async def age_usage(self, user: User, *, days: int) -> None:
        """As if the user's streams had been so many days earlier."""
        earlier = {"created": usage.c.created - days * 86_400, "day": usage.c.day - days}
        async with self.database.write() as connection:
            await connection.execute(update(usage).where(usage.c.user_id == user.id).values(earlier))

    async def history(self, user: User) -> list[tuple[str, str]]:
        """Role and JSON of each message of the user, oldest first."""
        query = select(messages.c.role, messages.c.message).where(messages.c.user_id == user.id)
        async with self.database.read() as connection:
            rows = await connection.execute(query.order_by(messages.c.created, messages.c.position))
            return [(row.role, row.message) for row in rows]

    async def used(self, user: User) -> list[tuple[str, str, str]]:
        """Endpoint, key and end of each stream of the user."""
        query = select(usage.c.endpoint, usage.c.key_id, usage.c.end_reason).where(usage.c.user_id == user.id)
        async with self.database.read() as connection:
            return [(row.endpoint, row.key_id, row.end_reason) for row in await connection.execute(query)]


def _accounts(io_loop: IOLoop, proxy: ProxyProcess) -> Iterator[Accounts]:
    database = io_loop.run_sync(lambda: open_sql(proxy.database_url))
    accounts = Accounts(proxy, database)
    yield accounts
    accounts.auth.close()
    io_loop.run_sync(database.close)
    proxy.check_log()


@pytest.fixture
def accounts(io_loop: IOLoop, compat_proxy: ProxyProcess) -> Iterator[Accounts]:
    yield from _accounts(io_loop, compat_proxy)


@pytest.fixture
def former_accounts(io_loop: IOLoop, former_proxy: ProxyProcess) -> Iterator[Accounts]:
    yield from _accounts(io_loop, former_proxy)


@pytest.fixture
def message_accounts(io_loop: IOLoop, message_proxy: ProxyProcess) -> Iterator[Accounts]:
    yield from _accounts(io_loop, message_proxy)


@pytest.fixture
def anybody(io_loop: IOLoop, compat_proxy: ProxyProcess) -> Iterator[Client]:
    """A caller without a credential; tests send those they need."""
    client = Client(compat_proxy.port)
    yield client
    client.close()


@pytest.fixture
def former(io_loop: IOLoop, former_proxy: ProxyProcess) -> Iterator[Client]:
    client = Client(former_proxy.port)
    yield client
    client.close()


@pytest.fixture
def message_only(io_loop: IOLoop, message_proxy: ProxyProcess) -> Iterator[Client]:
    client = Client(message_proxy.port)
    yield client
    client.close()
