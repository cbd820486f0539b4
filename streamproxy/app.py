"""The composition root: opens everything in order, introduces it to each other, serves, drains.

Nothing below this module sees the settings: every object gets the plain values it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import platform
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from socket import socket
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from redis.backoff import EqualJitterBackoff
from tornado.web import Application

from streamproxy.composition.chat import make_admission, make_calls, make_parts, make_sessions
from streamproxy.composition.features import (
    make_administration,
    make_authenticator,
    make_chatapi,
    make_message,
    make_sign_ins,
    make_simple_chat,
    make_tickets,
    stream_seconds,
)
from streamproxy.composition.start import ENDING_SECONDS, Start
from streamproxy.composition.tracing import open_tracing
from streamproxy.composition.upstreams import make_stored_keys, open_catalogue
from streamproxy.domain.keypool import Upstream
from streamproxy.handlers import routes
from streamproxy.handlers.base import NotFoundHandler
from streamproxy.handlers.cors import Cors
from streamproxy.handlers.environment import Dependency, Environment
from streamproxy.handlers.features import ProFeature
from streamproxy.metrics import Metrics
from streamproxy.services.billing import Billing
from streamproxy.services.chat import ChatService
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.keybook import KeyBook
from streamproxy.services.keylimits import KeyLimits
from streamproxy.services.keyring import Keyring
from streamproxy.services.keys import KeyPool
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.models import ModelList
from streamproxy.services.pro import ProAccess
from streamproxy.services.probes import Prober
from streamproxy.services.sessions import Sessions
from streamproxy.services.streams import StreamService
from streamproxy.serving import ProxyServer
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.streamboard import RedisStreamBoard
from streamproxy.stores.redis.streams import RedisStreamLog
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.conversations import SqlConversations
from streamproxy.stores.sql.grants import SqlGrants
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.upstream.client import AiohttpTransport

log = logging.getLogger(__name__)

# The pause before background work that failed begins again.
AGAIN_SECONDS = 1.0
Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
# How long a key rests whose upstream keeps failing: 1 s, then twice as long each time, up to a minute; half of it is
# drawn. stamina, tenacity and backoff wrap a call and sleep between its tries; here the pause is a state that all
# workers share, so only the formula is of use, and redis-py, which is here anyway, has it bare.
BACKOFF = EqualJitterBackoff(cap=60, base=1)


@dataclass(slots=True)
class Worker:
    """One worker's open parts, as ``serve`` needs them."""

    application: Application
    chat: ChatService
    streams: StreamService
    draining: asyncio.Event


@asynccontextmanager
async def open_worker(start: Start) -> AsyncIterator[Worker]:
    """Open everything a worker needs, innermost first, and close it in the other order."""
    settings = start.settings
    zone = ZoneInfo(settings.limits.timezone)
    async with AsyncExitStack() as stack:
        database = await open_sql(settings.database_url)
        stack.push_async_callback(database.close)
        metrics = Metrics({*settings.models.windows, *settings.models.prices})
        stack.callback(metrics.close)
        redis = await open_redis(start.redis_url, watch=metrics.redis)
        stack.push_async_callback(redis.close)
        ledger = SqlLedger(database)
        await ledger.start()
        stack.push_async_callback(ledger.close)
        transport = await stack.enter_async_context(
            AiohttpTransport(connect_timeout=settings.upstream.connect_timeout, shortcut=settings.server.shortcuts)
        )
        auth = make_authenticator(start, database)
        stack.callback(auth.close)
        sessions = make_sessions(settings, redis)
        admission = make_admission(settings, redis, zone)
        leases = LeaseKeeper(admission, sessions, rebuild=settings.sessions.rebuild)
        states = RedisKeyStates(redis)
        catalogue = await open_catalogue(settings, database, stack, start.tokenizer)
        keys = KeyPool(
            catalogue,
            book=KeyBook(states, clock=time.time, backoff=BACKOFF.compute, watch=metrics.keys),
            limits=KeyLimits(admission, leases),
            changed=partial(_introduce, transport, metrics),
            clock=time.time,
            random=SystemRandom(),
        )
        await keys.reload()
        await keys.refresh()
        prober = Prober(keys, transport, states=states, every=settings.upstream.probe_seconds, clock=time.time)
        parts = make_parts(
            settings,
            leases=leases,
            admission=admission,
            sessions=sessions,
            ledger=ledger,
            calls=make_calls(settings, keys, transport),
            metrics=metrics,
            tokenizer=start.tokenizer,
        )
        chat = ChatService(parts)
        metrics.watch(running=lambda: chat.running, redis_available=lambda: redis.available)
        stream_log = RedisStreamLog(
            redis,
            replay_seconds=settings.streams.replay_seconds,
            running_seconds=stream_seconds(settings),
            lease_seconds=settings.streams.lease_seconds,
        )
        streams = StreamService(
            chat,
            store=stream_log,
            ledger=ledger,
            owner=secrets.token_urlsafe(16),
            max_bytes=settings.streams.max_bytes,
            lease_seconds=settings.streams.lease_seconds,
            clock=time.time,
        )
        keyring = partial(
            Keyring,
            catalogue,
            make_stored_keys(settings, database),
            states=states,
            transport=transport,
            clock=time.time,
            retry=settings.upstream.probe_seconds,
        )
        directory = StreamDirectory(
            parts.running,
            RedisStreamBoard(redis),
            end=streams.end,
            worker=f"{platform.node()}:{os.getpid()}",
            clock=time.time,
        )
        conversations = SqlConversations(database)
        environment = Environment(
            auth=auth,
            chat=chat,
            models=ModelList(keys, transport, clock=time.time),
            admin=make_administration(settings, database=database, directory=directory, keyring=keyring),
            cors=Cors(settings.server.cors_origins),
            # Without Redis a worker goes on by itself, unless the settings say that it must not.
            dependencies=(
                Dependency("sql", database, required=True),
                Dependency("redis", redis, required=settings.limits.on_redis_down == "closed"),
            ),
            metrics=metrics,
            tracer=await open_tracing(settings, stack),
            cookie=settings.auth.cookie,
            guest=settings.guest_allowed,
            max_body_bytes=settings.server.max_body_bytes,
            default_image_model=settings.models.default_image_model,
            heartbeat_seconds=settings.streams.heartbeat_seconds,
            open_after_seconds=settings.streams.open_after_seconds,
            families=settings.compat.endpoints,
            sign_ins=make_sign_ins(settings, auth, parts.admission),
            message=make_message(settings, database),
            chatapi=make_chatapi(start, database, zone),
            simple_chat=make_simple_chat(settings, ledger, zone),
            pro=ProFeature(
                ProAccess(auth, passthrough=settings.compat.pro_passthrough_keys, secret=start.secret),
                settings.compat.pro_model,
            ),
            billing=Billing(ledger, SqlGrants(database), clock=time.time),
            streams=streams,
            tickets=make_tickets(start, stream_log, database),
            sessions=Sessions(parts.sessions, ledger, conversations),
            conversations=conversations,
            session_seconds=settings.sessions.ttl_seconds,
            stream_seconds=stream_seconds(settings),
            cancel_when_left=settings.streams.on_disconnect == "cancel",
            shortcuts=settings.server.shortcuts,
        )
        worker = Worker(_application(environment), chat, streams, environment.draining)
        _background(stack, streams.run, parts.leases.keep, keys.keep_fresh, prober.keep, directory.keep, metrics.keep)
        yield worker


def _introduce(transport: AiohttpTransport, metrics: Metrics, upstreams: Sequence[Upstream]) -> None:
    transport.meet(upstreams)
    metrics.meet(upstreams)


def _background(stack: AsyncExitStack, *works: Work) -> None:
    for work in works:
        stack.push_async_callback(_cancelled, asyncio.create_task(_insist(work)))


async def _insist(work: Work) -> None:
    """Background work ends by being cancelled. Any other end is a defect, and without it the worker would be half dead:
    its streams unrecorded, its leases lost. So it begins again."""
    while True:
        try:
            await work()
        except Exception:
            log.critical("background work of this worker failed and begins again", exc_info=True)
        await asyncio.sleep(AGAIN_SECONDS)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _application(environment: Environment) -> Application:
    return Application(
        [(pattern, handler, {"environment": environment}) for pattern, handler in routes(environment.families)],
        default_handler_class=NotFoundHandler,
        default_handler_args={"environment": environment},
        # Every handler writes its own line: Tornado's prints the query string.
        log_function=lambda _handler: None,
        serve_traceback=False,
    )


async def serve(start: Start, sockets: Sequence[socket], *, ready: Callable[[], None]) -> None:
    """Serve on *sockets* until SIGTERM or SIGINT, then drain; a second signal stops at once.

    *ready* is called once requests are being answered.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    async with open_worker(start) as worker:
        server = ProxyServer(worker.application, trusted_proxies=start.settings.server.trusted_proxies)
        server.add_sockets(sockets)
        # What is alive now lives as long as the worker: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        log.info("worker %d is ready", start.worker)
        ready()
        await stop.wait()
        await _drain(worker, server, grace=start.settings.server.drain_seconds, hurry=hurry)


async def _end_streams(worker: Worker, *, grace: float, hurry: asyncio.Event) -> None:
    """Resumable streams run without a client: they get what is left of the grace, and their end reaches the log."""
    idle, waiting = asyncio.create_task(worker.chat.wait_until_idle()), asyncio.create_task(hurry.wait())
    await asyncio.wait({idle, waiting}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    idle.cancel()
    waiting.cancel()
    worker.chat.stop_all()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await worker.chat.wait_until_idle()
            await worker.streams.flush()


async def _drain(worker: Worker, server: ProxyServer, *, grace: float, hurry: asyncio.Event) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + grace
    worker.draining.set()
    log.info("draining: %d streams are running", worker.chat.running)
    if not await server.drain(grace=grace, hurry=hurry):
        worker.chat.stop_all()
        log.warning("ending %d streams that are still running", worker.chat.running)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                await server.wait_until_idle()
    await _end_streams(worker, grace=max(0.0, deadline - clock()), hurry=hurry)
    await server.close_all_connections()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await worker.chat.wait_until_idle()
