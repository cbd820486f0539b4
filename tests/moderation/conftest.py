"""The proxies that moderate: by a word list, and by the upstream's own judgement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Select, select
from tornado.ioloop import IOLoop

from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.models import messages, usage
from tests.compat.conftest import Accounts
from tests.e2e.facts import until
from tests.support.http import Client, Head
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess

WORDS = """# What nobody may say here.
secret plan
re:\\bbombs?\\b
炸弹
"""


@pytest.fixture(scope="session")
def moderated_proxy(start_proxy: StartProxy, tmp_path_factory: pytest.TempPathFactory) -> ProxyProcess:
    file = tmp_path_factory.mktemp("moderation") / "words.txt"
    file.write_text(WORDS)
    return start_proxy(MODERATION__FILE=str(file), LIMITS__REQUESTS="5/calendar-day", STREAMS__HEARTBEAT_SECONDS="600")


@pytest.fixture(scope="session")
def judged_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(MODERATION__UPSTREAM_MODEL="judge", UPSTREAM__MODELS="gpt-4o-mini,judge")


@dataclass(frozen=True, slots=True)
class Asker:
    """A new user at a moderating proxy, and what it has written down about them."""

    client: Client
    accounts: Accounts

    async def end_of(self, answer: Head) -> str:
        """The end reason of a stream, once its row is written."""
        query = select(usage.c.end_reason).where(usage.c.stream_id == answer.get("X-Stream-Id"))
        found = await until(lambda: self._one(query), "the row is written", 5)
        return str(found[0])

    async def said_in(self, answer: Head) -> tuple[str, bool]:
        """The text of a stream's answer in the history, and whether it is marked as complete."""
        await self.end_of(answer)
        query = select(messages.c.message, messages.c.complete).where(messages.c.stream_id == answer.get("X-Stream-Id"))
        found = await self._one(query.order_by(messages.c.position.desc()).limit(1))
        assert found is not None
        return json.loads(found[0])["content"], found[1]

    async def _one(self, query: Select[Any]) -> Any:
        async with self.accounts.database.read() as connection:
            return (await connection.execute(query)).one_or_none()


async def _asker(proxy: ProxyProcess) -> Asker:
    accounts = Accounts(proxy, await open_sql(proxy.database_url))
    return Asker(Client(proxy.port, await accounts.bearer(await accounts.user())), accounts)


def _caller(io_loop: IOLoop, proxy: ProxyProcess) -> Iterator[Asker]:
    asker: Asker = io_loop.run_sync(lambda: _asker(proxy))
    yield asker
    asker.client.close()
    asker.accounts.auth.close()
    io_loop.run_sync(asker.accounts.database.close)
    proxy.check_log()


@pytest.fixture
def asker(io_loop: IOLoop, moderated_proxy: ProxyProcess) -> Iterator[Asker]:
    """Somebody with five requests a day."""
    yield from _caller(io_loop, moderated_proxy)


@pytest.fixture
def moderated(asker: Asker) -> Client:
    return asker.client


@pytest.fixture
def judged(io_loop: IOLoop, judged_proxy: ProxyProcess) -> Iterator[Client]:
    for asker in _caller(io_loop, judged_proxy):
        yield asker.client
