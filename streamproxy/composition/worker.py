"""Opens one worker: its stores, what it asks upstreams with, what answers, and the handlers before it all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tornado.web import Application

from streamproxy.composition.background import in_background
from streamproxy.composition.chat import make_admission, make_calls, make_limits, make_parts, make_sessions
from streamproxy.composition.features import (
    make_administration,
    make_authenticator,
    make_chatapi,
    make_message,
    make_pro,
    make_sign_ins,
    make_simple_chat,
    make_tickets,
)
from streamproxy.composition.providers import Providers, open_providers
from streamproxy.composition.start import Start
from streamproxy.composition.stores import Stores, open_stores
from streamproxy.composition.streams import make_directory, make_stream_log, make_streams, stream_seconds
from streamproxy.composition.tracing import open_tracing
from streamproxy.domain.tracing import Tracer
from streamproxy.handlers import routes
from streamproxy.handlers.base import NotFoundHandler
from streamproxy.handlers.cors import Cors
from streamproxy.handlers.environment import Dependency, Environment
from streamproxy.metrics import Metrics
from streamproxy.services.auth import Authenticator
from streamproxy.services.billing import Billing
from streamproxy.services.chat import ChatService
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.models import ModelList
from streamproxy.services.parts import Parts
from streamproxy.services.sessions import Sessions
from streamproxy.services.streams import StreamService
from streamproxy.settings import Settings
from streamproxy.stores.redis.streams import RedisStreamLog
from streamproxy.stores.redis.turnstile import RedisTurnstile
from streamproxy.stores.sql.conversations import SqlConversations
from streamproxy.stores.sql.grants import SqlGrants


@dataclass(slots=True)
class Worker:
    """One worker's open parts, as ``serve`` needs them."""

    application: Application
    chat: ChatService
    streams: StreamService
    draining: asyncio.Event


@dataclass(frozen=True, slots=True)
class Opened:
    """What the handlers are given, as far as it had to be opened or is used by more than one of them."""

    start: Start
    stores: Stores
    metrics: Metrics
    tracer: Tracer
    auth: Authenticator
    providers: Providers
    parts: Parts
    chat: ChatService
    streams: StreamService
    stream_log: RedisStreamLog
    directory: StreamDirectory


@asynccontextmanager
async def open_worker(start: Start) -> AsyncIterator[Worker]:
    """Open everything a worker needs, innermost first, and close it in the other order."""
    async with AsyncExitStack() as stack:
        opened = await _open(start, stack)
        environment = _environment(opened)
        worker = Worker(_application(environment), opened.chat, opened.streams, environment.draining)
        in_background(
            stack,
            opened.streams.run,
            opened.parts.leases.keep,
            opened.providers.keys.keep_fresh,
            opened.providers.prober.keep,
            opened.directory.keep,
            opened.metrics.keep,
        )
        yield worker


async def _open(start: Start, stack: AsyncExitStack) -> Opened:
    settings = start.settings
    metrics = Metrics({*settings.models.windows, *settings.models.prices})
    stack.callback(metrics.close)
    stores = await open_stores(start, stack, metrics)
    auth = make_authenticator(start, stores.database)
    stack.callback(auth.close)
    sessions, limits = make_sessions(settings, stores.redis), make_limits(settings, stores.redis)
    admission = make_admission(settings, limits)
    leases = LeaseKeeper(admission, sessions, rebuild=settings.sessions.rebuild)
    providers = await open_providers(start, stack, stores, metrics, admission=admission, leases=leases)
    parts = make_parts(
        settings,
        leases=leases,
        admission=admission,
        sessions=sessions,
        turnstile=RedisTurnstile(stores.redis, limits, sessions),
        ledger=stores.ledger,
        calls=make_calls(settings, providers.keys, providers.transport),
        metrics=metrics,
        tokenizer=start.tokenizer,
    )
    chat = ChatService(parts)
    metrics.watch(running=lambda: chat.running, redis_available=lambda: stores.redis.available)
    stream_log = make_stream_log(settings, stores.redis)
    streams = make_streams(settings, chat, stream_log, stores.ledger)
    return Opened(
        start=start,
        stores=stores,
        metrics=metrics,
        tracer=await open_tracing(settings, stack),
        auth=auth,
        providers=providers,
        parts=parts,
        chat=chat,
        streams=streams,
        stream_log=stream_log,
        directory=make_directory(parts, streams, stores.redis),
    )


def _environment(opened: Opened) -> Environment:
    start, stores, providers = opened.start, opened.stores, opened.providers
    settings, database = start.settings, stores.database
    zone, conversations = ZoneInfo(settings.limits.timezone), SqlConversations(database)
    return Environment(
        auth=opened.auth,
        chat=opened.chat,
        models=ModelList(providers.keys, providers.transport, clock=time.time),
        admin=make_administration(settings, database=database, directory=opened.directory, keyring=providers.keyring),
        cors=Cors(settings.server.cors_origins),
        dependencies=_dependencies(settings, stores),
        metrics=opened.metrics,
        tracer=opened.tracer,
        cookie=settings.auth.cookie,
        guest=settings.guest_allowed,
        max_body_bytes=settings.server.max_body_bytes,
        default_image_model=settings.models.default_image_model,
        heartbeat_seconds=settings.streams.heartbeat_seconds,
        open_after_seconds=settings.streams.open_after_seconds,
        families=settings.compat.endpoints,
        sign_ins=make_sign_ins(settings, opened.auth, opened.parts.admission),
        message=make_message(settings, database),
        chatapi=make_chatapi(start, database, zone),
        simple_chat=make_simple_chat(settings, stores.ledger, zone),
        pro=make_pro(start, opened.auth),
        billing=Billing(stores.ledger, SqlGrants(database), clock=time.time),
        streams=opened.streams,
        tickets=make_tickets(start, opened.stream_log, database),
        sessions=Sessions(opened.parts.sessions, stores.ledger, conversations),
        conversations=conversations,
        session_seconds=settings.sessions.ttl_seconds,
        stream_seconds=stream_seconds(settings),
        cancel_when_left=settings.streams.on_disconnect == "cancel",
        shortcuts=settings.server.shortcuts,
    )


def _dependencies(settings: Settings, stores: Stores) -> tuple[Dependency, ...]:
    # Without Redis a worker goes on by itself, unless the settings say that it must not.
    redis_required = settings.limits.on_redis_down == "closed"
    return (
        Dependency("sql", stores.database, required=True),
        Dependency("redis", stores.redis, required=redis_required),
    )


def _application(environment: Environment) -> Application:
    return Application(
        [(pattern, handler, {"environment": environment}) for pattern, handler in routes(environment.families)],
        default_handler_class=NotFoundHandler,
        default_handler_args={"environment": environment},
        # Every handler writes its own line: Tornado's prints the query string.
        log_function=lambda _handler: None,
        serve_traceback=False,
    )
