"""A key pool on real stores (Redis in memory, SQLite) with its clock in the test's hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.keypool import Candidate, Key, KeyState, Upstream, key_id
from streamproxy.domain.limits import NO_LIMITS, LimitPolicy
from streamproxy.domain.ports import StoredUpstream
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.catalogue import Catalogue
from streamproxy.services.keybook import KeyBook
from streamproxy.services.keylimits import KeyLimits
from streamproxy.services.keys import KeyPool
from streamproxy.services.leases import LeaseKeeper
from streamproxy.stores.local import LocalLimits
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.stores.sql.migrations import migrate
from streamproxy.stores.sql.sealing import Seal
from streamproxy.stores.sql.upstreams import SqlUpstreams

UTC = ZoneInfo("UTC")


@dataclass(slots=True)
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Watch:
    """Counts as the metrics do."""

    calls: list[str] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    counts: Mapping[tuple[str, str, KeyState], int] = field(default_factory=dict)

    def called(self, upstream: str, last4: str) -> None:  # noqa: ARG002 (the names are KeyWatch's)
        self.calls.append(last4)

    def failed(self, upstream: str, last4: str, error: str) -> None:  # noqa: ARG002
        self.errors.append((last4, error))

    def standings(self, counts: Mapping[tuple[str, str, KeyState], int]) -> None:
        self.counts = counts


def upstream_with(*last4s: str, name: str = "one", priority: int = 0) -> Upstream:
    secrets = [f"sk-0123456789-{last4}" for last4 in last4s]
    keys = tuple(Key(key_id(name, secret), secret) for secret in secrets)
    return Upstream(name, "openai", "http://127.0.0.1:9/v1", {"*": "*"}, keys, priority=priority)


@dataclass(slots=True)
class Worker:
    """One worker's pool, and what it is made of."""

    pool: KeyPool
    watch: Watch
    states: RedisKeyStates
    met: list[Sequence[Upstream]]

    @property
    def offered(self) -> list[Candidate]:
        return self.pool.offered("gpt-4o")

    async def state(self, last4: str) -> KeyState:
        """How the key stands here."""
        await self.pool.refresh()
        (found,) = (state for (_, key, state), count in self.watch.counts.items() if key == last4 and count)
        return found


NewWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(io_loop: IOLoop) -> Iterator[RedisLink]:
    opened = io_loop.run_sync(lambda: open_redis(f"memory://{uuid4().hex}"))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def database(io_loop: IOLoop, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    migrate(url)
    opened = io_loop.run_sync(lambda: open_sql(url))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def key_store(database: Database) -> SqlKeys:
    return SqlKeys(database, Seal(b"a secret of at least thirty-two bytes"))


@pytest.fixture
def new_worker(clock: Clock, database: Database, link: RedisLink, key_store: SqlKeys) -> NewWorker:
    """Makes workers that share Redis and SQL; *limits* hold for each key."""

    async def make(*upstreams: Upstream, limits: LimitPolicy = NO_LIMITS, redis: RedisLink = link) -> Worker:
        sessions = RedisSessions(redis, ttl_seconds=60, max_tokens=1000, max_messages=10)
        admission = Admission(
            RedisLimits(redis, zone=UTC),
            fallback=LocalLimits(workers=2, zone=UTC, clock=clock),
            policy=NO_LIMITS,
            on_redis_down=OnRedisDown.LOCAL,
        )
        states, watch, met = RedisKeyStates(redis), Watch(), list[Sequence[Upstream]]()
        pool = KeyPool(
            Catalogue(
                [StoredUpstream(upstream, limits) for upstream in upstreams],
                spare=StoredUpstream(upstream_with(name="spare")),
                keys=key_store,
                upstreams=SqlUpstreams(database),
            ),
            book=KeyBook(states, clock=clock, backoff=lambda setbacks: 2.0**setbacks, watch=watch),
            limits=KeyLimits(admission, LeaseKeeper(admission, sessions, rebuild=True)),
            changed=met.append,
            clock=clock,
            random=Random(1),
        )
        await pool.reload()
        return Worker(pool, watch, states, met)

    return make
