"""Clients for every kind of Redis a URL can name.

====================================================  =======================================
``redis://[user:pass@]host:port/db``, ``rediss://``   one server, with TLS
``unix:///path?db=0``                                 one server on a unix socket
``redis+cluster://[user:pass@]h:p,h:p``               Redis Cluster (``rediss+cluster`` with TLS)
``redis+sentinel://[user:pass@]h:p,h:p/master[/db]``  the master that Sentinel names
``memory://[name]``                                   fakeredis, shared by name in this process
====================================================  =======================================

``redis://`` and ``unix:`` without further options go over one connection (``piped``); with any option of redis-py's,
``?max_connections=64`` say, over its pool. No client of redis-py's has time limits of its own for commands:
``connect.RedisLink`` bounds each whole call, connecting included. redis-py's socket_timeout would do the same per read
and write, for 70 µs of CPU a command (it starts a task for each write), and would lose some cancellations: it writes
through asyncio.wait_for, which on Python 3.11 swallows one that comes when the write is just done (gh-86296).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast
from urllib.parse import SplitResult, unquote, urlsplit

import redis.exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from streamproxy.errors import ConfigurationError
from streamproxy.stores.redis.piped import Address, PipedClient

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
    "memory",
)


class Client(Protocol):
    """The part of redis-py that we use; single server, cluster and fakeredis have it in common."""

    async def execute_command(self, *args: Any) -> Any: ...

    def pipeline(self, transaction: bool = ...) -> Any: ...  # noqa: FBT001 (redis-py's own signature)

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Server:
    """A client, how to close all of it, and whether a network is in between.

    *piped* is the client where it is our own, which bounds its calls by itself and takes them in order.
    """

    client: Client
    close: Callable[[], Awaitable[None]]
    remote: bool = True
    piped: PipedClient | None = None


def open_server(url: str, *, timeout_seconds: float) -> Server:
    """The client for *url*, not yet connected. ConfigurationError for a URL that names no Redis."""
    try:
        parts = urlsplit(url)
        kind = parts.scheme.partition("+")[2] or parts.scheme
        if parts.scheme in SCHEMES:
            openers = {"cluster": _cluster, "sentinel": _sentinel, "memory": _memory}
            return openers.get(kind, _single)(parts, timeout_seconds)
    except (TypeError, ValueError):
        # A malformed host or number, or an option that redis-py does not know. Dropped, because the text of
        # these errors quotes parts of the URL, and the password may be in them.
        pass
    raise ConfigurationError(
        "redis.url is not the URL of a Redis: write redis://host:6379/0, rediss://, unix:///path, "
        "redis+cluster://host:port,host:port, redis+sentinel://host:port,host:port/master or memory://"
    )


def _options(timeout_seconds: float) -> dict[str, Any]:
    # One retry, at once and for broken connections only: after a restart of Redis a pooled connection is
    # stale. All our steps are idempotent. redis-py's default is ten retries, 3.8 s against a refusing server.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,))
    return {"retry": retry, "socket_timeout": None, "socket_connect_timeout": timeout_seconds}


def _single(parts: SplitResult, timeout_seconds: float) -> Server:
    address = _address(parts)
    if address is not None:
        piped = PipedClient(address, timeout_seconds=timeout_seconds)
        return Server(piped, piped.aclose, piped=piped)
    client = Redis.from_url(parts.geturl(), **_options(timeout_seconds))
    # Not connected: it only shows now, not at the first request, whether every option in the URL is known.
    client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return Server(cast("Client", client), client.aclose)


def _address(parts: SplitResult) -> Address | None:
    """Where the server is, None when the URL wants more than ``piped`` does: TLS, or options of redis-py's."""
    options: dict[str, Any] = {**parse_url(parts.geturl())}
    options.pop("connection_class", None)
    plain = parts.scheme in {"redis", "unix"} and options.keys() <= {f.name for f in fields(Address)}
    return Address(**options) if plain else None


def _cluster(parts: SplitResult, timeout_seconds: float) -> Server:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, 6379)]
    client = RedisCluster(startup_nodes=nodes, **_credentials(parts), **_tls(parts), **_options(timeout_seconds))
    return Server(cast("Client", client), client.aclose)


def _sentinel(parts: SplitResult, timeout_seconds: float) -> Server:
    master, _, db = parts.path.lstrip("/").partition("/")
    if not master:
        raise ValueError("no master")
    hosts = _hosts(parts, 26379)
    # A sentinel that is away must leave time to ask the others and the master.
    patience = timeout_seconds / (len(hosts) + 1)
    asking = {"socket_timeout": patience, "socket_connect_timeout": patience, "retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    options = _credentials(parts) | _tls(parts) | _options(timeout_seconds)
    client = sentinel.master_for(master, db=int(db or 0), **options)

    async def close() -> None:
        await client.aclose()
        await sentinel.aclose()

    return Server(cast("Client", client), close)


def _memory(parts: SplitResult, timeout_seconds: float) -> Server:  # noqa: ARG001 (an opener like the others)
    try:
        from fakeredis import FakeAsyncRedis
    except ImportError:
        raise ConfigurationError("memory:// needs fakeredis: pip install 'streamproxy[embedded]'") from None
    # fakeredis shares its data by host, so all links of one name in this process see the same.
    client = FakeAsyncRedis(host=f"streamproxy-{parts.netloc}")
    return Server(cast("Client", client), client.aclose, remote=False)


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    found = []
    for address in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{address}")
        if not one.hostname:
            raise ValueError("a host is missing")
        found.append((one.hostname, one.port or default_port))
    return found


def _credentials(parts: SplitResult) -> dict[str, Any]:
    account, _, password = parts.netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(account), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _tls(parts: SplitResult) -> dict[str, Any]:
    return {"ssl": True} if parts.scheme.startswith("rediss") else {}
