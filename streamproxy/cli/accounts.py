"""The open stores that commands about people work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from streamproxy.domain.ports import CredentialStore, Ledger, User, UserStore
from streamproxy.errors import NotFoundError
from streamproxy.services.auth import Authenticator
from streamproxy.services.billing import Billing
from streamproxy.services.passwords import Passwords
from streamproxy.settings import Settings, auth_secret
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.grants import SqlGrants
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.migrations import migrate, pending
from streamproxy.stores.sql.users import SqlUsers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accounts:
    """Everything known about people: who they are, their credentials, what they used."""

    users: UserStore
    credentials: CredentialStore
    ledger: Ledger
    billing: Billing
    auth: Authenticator

    async def named(self, name: str) -> User:
        """The user called *name*; NotFoundError when there is none."""
        user = await self.users.by_name(name)
        if user is None:
            raise NotFoundError(f"There is no user {name!r}; `streamproxy user list` shows all.", code="user_not_found")
        return user


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """Open the database, brought up to date as `serve` does it; StoreUnavailableError when it does not answer."""
    url = settings.database_url
    if await pending(url):
        await asyncio.to_thread(migrate, url)
    async with AsyncExitStack() as stack:
        database = await open_sql(url)
        stack.push_async_callback(database.close)
        users, credentials = SqlUsers(database), SqlCredentials(database)
        passwords = Passwords.of(settings.auth.password_cost)
        auth = Authenticator(users, credentials, secret=auth_secret(settings), passwords=passwords)
        stack.callback(auth.close)
        ledger = SqlLedger(database)
        await ledger.start()
        stack.push_async_callback(ledger.close)
        billing = Billing(ledger, SqlGrants(database), clock=time.time)
        yield Accounts(users=users, credentials=credentials, ledger=ledger, billing=billing, auth=auth)


def with_accounts(settings: Settings, work: Callable[[Accounts], Awaitable[T]]) -> T:
    """Run *work* on a loop of its own with the stores open, and return what it returns."""

    async def run() -> T:
        async with open_accounts(settings) as accounts:
            return await work(accounts)

    return asyncio.run(run())
