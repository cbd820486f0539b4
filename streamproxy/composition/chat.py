"""Builds what answers: limits, sessions, prompts, calls, and the parts of every exchange."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo

from streamproxy.domain.limits import LimitPolicy, parse_limits
from streamproxy.domain.money import PriceTable, parse_price
from streamproxy.metrics import Metrics
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.calls import Calls
from streamproxy.services.deadlines import Timeouts
from streamproxy.services.failover import Failover
from streamproxy.services.keys import KeyPool
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.moderation import Moderation
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import PromptPolicy, Prompts
from streamproxy.settings import Settings
from streamproxy.stores.local import LocalLimits
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.stores.redis.turnstile import RedisTurnstile
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.tokenizer import Tokenizer
from streamproxy.upstream.client import AiohttpTransport


def make_sessions(settings: Settings, redis: RedisLink) -> RedisSessions:
    return RedisSessions(
        redis,
        ttl_seconds=settings.sessions.ttl_seconds,
        max_tokens=settings.sessions.max_tokens,
        max_messages=settings.sessions.max_messages,
    )


def make_limits(settings: Settings, redis: RedisLink) -> RedisLimits:
    return RedisLimits(redis, zone=ZoneInfo(settings.limits.timezone))


def make_admission(settings: Settings, shared: RedisLimits) -> Admission:
    limits, zone = settings.limits, ZoneInfo(settings.limits.timezone)
    return Admission(
        shared,
        fallback=LocalLimits(workers=settings.server.workers, zone=zone, clock=time.time),
        policy=LimitPolicy(
            requests=parse_limits(limits.requests),
            tokens=parse_limits(limits.tokens),
            streams=limits.concurrent_streams,
        ),
        on_redis_down=OnRedisDown(limits.on_redis_down),
    )


def make_calls(settings: Settings, keys: KeyPool, transport: AiohttpTransport) -> Calls:
    timing = settings.upstream
    return Calls(
        keys,
        transport,
        timeouts=Timeouts(first_event=timing.first_event_timeout, idle=timing.idle_timeout, total=timing.total_timeout),
        failover=Failover(
            keys, max_attempts=timing.max_attempts, retry_timeouts=timing.retry_timeouts, clock=time.monotonic
        ),
        max_bytes=settings.streams.max_bytes,
    )


def make_parts(
    settings: Settings,
    *,
    leases: LeaseKeeper,
    admission: Admission,
    sessions: RedisSessions,
    turnstile: RedisTurnstile,
    ledger: SqlLedger,
    calls: Calls,
    metrics: Metrics,
    tokenizer: Tokenizer,
) -> Parts:
    return Parts(
        admission=admission,
        leases=leases,
        prompts=Prompts(
            make_prompt_policy(settings), sessions=sessions, ledger=ledger, counters=tokenizer, clock=time.time
        ),
        calls=calls,
        sessions=sessions,
        turnstile=turnstile,
        ledger=ledger,
        reply_reserve=settings.limits.reply_reserve_tokens,
        clock=time.time,
        watch=metrics,
        prices=PriceTable(
            {model: parse_price(price) for model, price in settings.models.prices.items()},
            default=parse_price(settings.models.default_price),
        ),
        moderation=make_moderation(settings, calls),
    )


def make_moderation(settings: Settings, calls: Calls) -> Moderation | None:
    words, model = settings.moderation.words(), settings.moderation.upstream_model
    return None if words is None and model is None else Moderation(words, model=model, calls=calls)


def make_prompt_policy(settings: Settings) -> PromptPolicy:
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
