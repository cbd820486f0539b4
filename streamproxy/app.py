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
from typing import Any
from zoneinfo import ZoneInfo

from redis.backoff import EqualJitterBackoff
from tornado.web import Application

from streamproxy.domain.keypool import Key, Upstream, key_id
from streamproxy.domain.limits import DayQuota, LimitPolicy, parse_limits
from streamproxy.domain.money import PriceTable, parse_price
from streamproxy.handlers import routes
from streamproxy.handlers.base import NotFoundHandler
from streamproxy.handlers.cors import Cors
from streamproxy.handlers.environment import Dependency, Environment
from streamproxy.handlers.features import ChatApiFeature, MessageFeature, ProFeature, SimpleChatFeature
from streamproxy.metrics import Metrics
from streamproxy.services.administration import Administration
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.auth import Authenticator
from streamproxy.services.bearers import Bearers
from streamproxy.services.billing import Billing
from streamproxy.services.calls import Calls
from streamproxy.services.catalogue import Catalogue
from streamproxy.services.chat import ChatService
from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.services.deadlines import Timeouts
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.failover import Failover
from streamproxy.services.keybook import KeyBook
from streamproxy.services.keylimits import KeyLimits
from streamproxy.services.keyring import Keyring
from streamproxy.services.keys import KeyPool
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.models import ModelList
from streamproxy.services.moderation import Moderation
from streamproxy.services.order import EndpointPolicy
from streamproxy.services.parts import Parts
from streamproxy.services.pro import ProAccess
from streamproxy.services.probes import Prober
from streamproxy.services.prompt import PromptPolicy, Prompts
from streamproxy.services.questions import Questions
from streamproxy.services.remarks import Remarks
from streamproxy.services.report import Reports
from streamproxy.services.sessions import Sessions
from streamproxy.services.signins import SignIns
from streamproxy.services.streams import StreamService
from streamproxy.services.tickets import Tickets
from streamproxy.serving import ProxyServer
from streamproxy.settings import Settings
from streamproxy.settings.providers import configured_upstreams, encryption_secret, spare_upstream
from streamproxy.stores.local import LocalLimits
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.stores.redis.streamboard import RedisStreamBoard
from streamproxy.stores.redis.streams import RedisStreamLog
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.grants import SqlGrants
from streamproxy.stores.sql.kept_bearers import SqlKeptBearers
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.questions import SqlQuestions
from streamproxy.stores.sql.sealing import Seal
from streamproxy.stores.sql.upstreams import SqlUpstreams
from streamproxy.stores.sql.usagereport import SqlUsageReport
from streamproxy.stores.sql.users import SqlUsers
from streamproxy.tokenizer import Tokenizer
from streamproxy.upstream.client import AiohttpTransport

log = logging.getLogger(__name__)

# After drain_seconds the streams that still run are told so; this long they have to write their ending.
ENDING_SECONDS = 5.0
# How long a key rests whose upstream keeps failing: 1 s, then twice as long each time, up to a minute; half of it is
# drawn. stamina, tenacity and backoff wrap a call and sleep between its tries; here the pause is a state that all
# workers share, so only the formula is of use, and redis-py, which is here anyway, has it bare.
BACKOFF = EqualJitterBackoff(cap=60, base=1)


@dataclass(frozen=True, slots=True)
class Start:
    """What the supervisor decided for a worker before it was started. *redis_url* and *secret* are secrets."""

    settings: Settings
    secret: bytes
    redis_url: str
    tokenizer: Tokenizer
    worker: int = 0


@dataclass(slots=True)
class Worker:
    """One worker's open parts, as ``serve`` needs them."""

    application: Application
    chat: ChatService
    streams: StreamService
    draining: bool = False


@asynccontextmanager
async def open_worker(start: Start) -> AsyncIterator[Worker]:
    """Open everything a worker needs, innermost first, and close it in the other order."""
    settings = start.settings
    zone = ZoneInfo(settings.limits.timezone)
    async with AsyncExitStack() as stack:
        database = await open_sql(settings.database_url)
        stack.push_async_callback(database.close)
        redis = await open_redis(start.redis_url)
        stack.push_async_callback(redis.close)
        ledger = SqlLedger(database)
        await ledger.start()
        stack.push_async_callback(ledger.close)
        transport = await stack.enter_async_context(AiohttpTransport(connect_timeout=settings.upstream.connect_timeout))
        auth = _authenticator(start, database)
        stack.callback(auth.close)
        metrics = Metrics()
        sessions = _sessions(settings, redis)
        admission = _admission(settings, redis, zone)
        leases = LeaseKeeper(admission, sessions, rebuild=settings.sessions.rebuild)
        states = RedisKeyStates(redis)
        catalogue = await _catalogue(settings, database, stack, start.tokenizer)
        keys = KeyPool(
            catalogue,
            book=KeyBook(states, clock=time.time, backoff=BACKOFF.compute, watch=metrics),
            limits=KeyLimits(admission, leases),
            changed=transport.meet,
            clock=time.time,
            random=SystemRandom(),
        )
        await keys.reload()
        await keys.refresh()
        prober = Prober(keys, transport, states=states, every=settings.upstream.probe_seconds, clock=time.time)
        parts = _parts(
            settings,
            leases=leases,
            admission=admission,
            sessions=sessions,
            ledger=ledger,
            calls=_calls(settings, keys, transport),
            metrics=metrics,
            tokenizer=start.tokenizer,
        )
        chat = ChatService(parts)
        stream_log = RedisStreamLog(
            redis,
            replay_seconds=settings.streams.replay_seconds,
            running_seconds=_stream_seconds(settings),
        )
        streams = StreamService(
            chat,
            store=stream_log,
            ledger=ledger,
            owner=secrets.token_urlsafe(16),
            max_bytes=settings.streams.max_bytes,
            clock=time.time,
        )
        keyring = partial(
            Keyring,
            catalogue,
            _stored_keys(settings, database),
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
        environment = Environment(
            auth=auth,
            chat=chat,
            models=ModelList(keys, transport, clock=time.time),
            admin=_administration(settings, database=database, directory=directory, keyring=keyring),
            cors=Cors(settings.server.cors_origins),
            # Without Redis a worker goes on by itself, unless the settings say that it must not.
            dependencies=(
                Dependency("sql", database, required=True),
                Dependency("redis", redis, required=settings.limits.on_redis_down == "closed"),
            ),
            metrics=lambda: metrics.exposition(running=chat.running, redis_available=redis.available),
            cookie=settings.auth.cookie,
            guest=settings.guest_allowed,
            max_body_bytes=settings.server.max_body_bytes,
            default_image_model=settings.models.default_image_model,
            heartbeat_seconds=settings.streams.heartbeat_seconds,
            open_after_seconds=settings.streams.open_after_seconds,
            families=settings.compat.endpoints,
            sign_ins=_sign_ins(settings, auth, parts.admission),
            message=_message(settings, database),
            chatapi=_chatapi(start, database, zone),
            simple_chat=_simple_chat(settings, ledger, zone),
            pro=ProFeature(
                ProAccess(auth, passthrough=settings.compat.pro_passthrough_keys, secret=start.secret),
                settings.compat.pro_model,
            ),
            billing=Billing(ledger, SqlGrants(database), clock=time.time),
            streams=streams,
            tickets=_tickets(start, stream_log, database),
            sessions=Sessions(parts.sessions, ledger),
            stream_seconds=_stream_seconds(settings),
            cancel_when_left=settings.streams.on_disconnect == "cancel",
        )
        worker = Worker(_application(environment), chat, streams)
        environment.draining = lambda: worker.draining
        await _background(stack, streams.run(), parts.leases.keep(), keys.keep_fresh(), prober.keep(), directory.keep())
        yield worker


def _sessions(settings: Settings, redis: RedisLink) -> RedisSessions:
    return RedisSessions(
        redis,
        ttl_seconds=settings.sessions.ttl_seconds,
        max_tokens=settings.sessions.max_tokens,
        max_messages=settings.sessions.max_messages,
    )


def _admission(settings: Settings, redis: RedisLink, zone: ZoneInfo) -> Admission:
    limits = settings.limits
    return Admission(
        RedisLimits(redis, zone=zone),
        fallback=LocalLimits(workers=settings.server.workers, zone=zone, clock=time.time),
        policy=LimitPolicy(
            requests=parse_limits(limits.requests),
            tokens=parse_limits(limits.tokens),
            streams=limits.concurrent_streams,
        ),
        on_redis_down=OnRedisDown(limits.on_redis_down),
    )


def _calls(settings: Settings, keys: KeyPool, transport: AiohttpTransport) -> Calls:
    timing = settings.upstream
    return Calls(
        keys,
        transport,
        timeouts=Timeouts(first_event=timing.first_event_timeout, idle=timing.idle_timeout, total=timing.total_timeout),
        failover=Failover(keys, max_attempts=timing.max_attempts, retry_timeouts=timing.retry_timeouts),
        max_bytes=settings.streams.max_bytes,
    )


def _stream_seconds(settings: Settings) -> float:
    """How long a stream can be read at most: while it is generated, and afterwards."""
    return settings.upstream.total_timeout + settings.sessions.wait_seconds + settings.streams.replay_seconds


def _tickets(start: Start, store: RedisStreamLog, database: Database) -> Tickets:
    return Tickets(
        Bearers(start.secret, clock=time.time),
        store=store,
        users=SqlUsers(database),
        life_seconds=_stream_seconds(start.settings),
        clock=time.time,
    )


def _parts(
    settings: Settings,
    *,
    leases: LeaseKeeper,
    admission: Admission,
    sessions: RedisSessions,
    ledger: SqlLedger,
    calls: Calls,
    metrics: Metrics,
    tokenizer: Tokenizer,
) -> Parts:
    return Parts(
        admission=admission,
        leases=leases,
        prompts=Prompts(
            _prompt_policy(settings), sessions=sessions, ledger=ledger, counters=tokenizer, clock=time.time
        ),
        calls=calls,
        sessions=sessions,
        ledger=ledger,
        reply_reserve=settings.limits.reply_reserve_tokens,
        clock=time.time,
        observe=metrics.observe,
        prices=PriceTable(
            {model: parse_price(price) for model, price in settings.models.prices.items()},
            default=parse_price(settings.models.default_price),
        ),
        moderation=_moderation(settings, calls),
    )


def _moderation(settings: Settings, calls: Calls) -> Moderation | None:
    words, model = settings.moderation.words(), settings.moderation.upstream_model
    return None if words is None and model is None else Moderation(words, model=model, calls=calls)


def _administration(
    settings: Settings, *, database: Database, directory: StreamDirectory, keyring: Callable[[], Keyring]
) -> Administration:
    return Administration(
        users=SqlUsers(database),
        credentials=SqlCredentials(database),
        usage=SqlUsageReport(database),
        streams=directory,
        keyring=keyring,
        bearer_days=settings.auth.token_days,
        clock=time.time,
    )


def _prompt_policy(settings: Settings) -> PromptPolicy:
    return PromptPolicy(
        windows=settings.models.windows,
        default_window=settings.models.default_window,
        reply_reserve=settings.sessions.reply_reserve_tokens,
        context_tokens=settings.sessions.max_tokens,
        ttl_seconds=settings.sessions.ttl_seconds,
        wait_seconds=settings.sessions.wait_seconds,
        rebuild=settings.sessions.rebuild,
        sessions_need_redis=settings.limits.on_redis_down == "closed",
    )


def _authenticator(start: Start, database: Database) -> Authenticator:
    return Authenticator(
        SqlUsers(database),
        SqlCredentials(database),
        secret=start.secret,
        guest=start.settings.guest_allowed,
        cache_seconds=start.settings.auth.cache_seconds,
    )


def _sign_ins(settings: Settings, auth: Authenticator, admission: Admission) -> SignIns:
    return SignIns(
        auth,
        admission,
        by_account=LimitPolicy(requests=parse_limits(settings.auth.sign_in_failures)),
        by_address=LimitPolicy(requests=parse_limits(settings.auth.sign_in_failures_per_address)),
    )


def _message(settings: Settings, database: Database) -> MessageFeature:
    compat = settings.compat
    # A question comes back by itself only when its request cannot be running any more.
    hold = compat.message_seconds + ENDING_SECONDS
    return MessageFeature(
        questions=Questions(SqlUsers(database), SqlQuestions(database), hold_seconds=hold, clock=time.time),
        model=compat.message_model,
        temperature=compat.message_temperature,
        max_tokens=compat.message_max_tokens,
        seconds=compat.message_seconds,
        trust_openid=compat.message_trust_openid,
        error_status=compat.message_status,
    )


def _simple_chat(settings: Settings, ledger: SqlLedger, zone: ZoneInfo) -> SimpleChatFeature:
    compat = settings.compat
    remarks = Remarks(ledger, zone=zone, clock=time.time)
    return SimpleChatFeature(
        policy=EndpointPolicy("simple_chat", LimitPolicy(requests=parse_limits(compat.simple_chat_limits))),
        limit_status=compat.simple_chat_limit_status,
        model=compat.simple_chat_model,
        registration=compat.simple_chat_registration,
        advanced_prompt=compat.simple_chat_advanced_prompt,
        token_days=settings.auth.token_days,
        remarks=remarks,
        reports=Reports(remarks),
    )


def _chatapi(start: Start, database: Database, zone: ZoneInfo) -> ChatApiFeature:
    settings = start.settings
    days, limit = settings.auth.token_days, settings.compat.chatapi_daily_limit
    quota = LimitPolicy(requests=(DayQuota(limit),) if limit else ())
    return ChatApiFeature(
        tokens=ChatApiTokens(SqlKeptBearers(database), secret=start.secret, days=days, clock=time.time),
        model=settings.compat.chatapi_model,
        longest_query=settings.compat.chatapi_longest_query,
        daily=EndpointPolicy("chatapi", quota),
        zone=zone,
    )


async def _catalogue(settings: Settings, database: Database, stack: AsyncExitStack, tokenizer: Tokenizer) -> Catalogue:
    """The configured upstreams and those in the database; the demo model while there are none."""
    fixed = configured_upstreams(settings)
    return Catalogue(
        fixed,
        spare=spare_upstream(settings),
        last_resort=None if fixed else await _demo(stack, tokenizer),
        keys=_stored_keys(settings, database),
        upstreams=SqlUpstreams(database),
    )


def _stored_keys(settings: Settings, database: Database) -> SqlKeys:
    return SqlKeys(database, Seal(encryption_secret(settings)))


async def _demo(stack: AsyncExitStack, tokenizer: Tokenizer) -> Upstream:
    from streamproxy.demo import start_demo

    demo = await start_demo(counters=tokenizer)
    stack.push_async_callback(demo.close)
    log.warning("no upstream is configured: the built-in demo model answers (set OPENAI_API_KEY for a real one)")
    return Upstream("demo", "openai", demo.base_url, {"*": "*"}, (Key(key_id("demo", ""), ""),), allow_private=True)


async def _background(stack: AsyncExitStack, *work: Coroutine[Any, Any, None]) -> None:
    for coroutine in work:
        task = asyncio.create_task(coroutine)
        stack.push_async_callback(_cancelled, task)


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
    """Resumable streams run without a client: they get the same grace, and their last events reach the log."""
    if worker.chat.running and not hurry.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await worker.chat.wait_until_idle()
    worker.chat.stop_all()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await worker.chat.wait_until_idle()
            await worker.streams.flush()


async def _drain(worker: Worker, server: ProxyServer, *, grace: float, hurry: asyncio.Event) -> None:
    worker.draining = True
    log.info("draining: %d streams are running", worker.chat.running)
    if not await server.drain(grace=grace, hurry=hurry):
        worker.chat.stop_all()
        log.warning("ending %d streams that are still running", worker.chat.running)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                await server.wait_until_idle()
    await _end_streams(worker, grace=grace, hurry=hurry)
    await server.close_all_connections()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await worker.chat.wait_until_idle()
