"""Builds who may come in, and what single handlers need beyond the chat."""

from __future__ import annotations

import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

from streamproxy.composition.start import ENDING_SECONDS, Start
from streamproxy.composition.streams import stream_seconds
from streamproxy.domain.limits import DayQuota, LimitPolicy, parse_limits
from streamproxy.handlers.features import ChatApiFeature, MessageFeature, ProFeature, SimpleChatFeature
from streamproxy.services.administration import Administration, LimitsInForce
from streamproxy.services.admission import Admission
from streamproxy.services.auth import Authenticator
from streamproxy.services.bearers import Bearers
from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.keyring import Keyring
from streamproxy.services.order import EndpointPolicy
from streamproxy.services.passwords import Passwords
from streamproxy.services.pro import ProAccess
from streamproxy.services.questions import Questions
from streamproxy.services.remarks import Remarks
from streamproxy.services.report import Reports
from streamproxy.services.signins import SignIns
from streamproxy.services.tickets import Tickets
from streamproxy.settings import Settings
from streamproxy.stores.redis.streams import RedisStreamLog
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.kept_bearers import SqlKeptBearers
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.questions import SqlQuestions
from streamproxy.stores.sql.usagereport import SqlUsageReport
from streamproxy.stores.sql.users import SqlUsers


def make_authenticator(start: Start, database: Database) -> Authenticator:
    return Authenticator(
        SqlUsers(database),
        SqlCredentials(database),
        secret=start.secret,
        guest=start.settings.guest_allowed,
        cache_seconds=start.settings.auth.cache_seconds,
        passwords=Passwords.of(start.settings.auth.password_cost),
    )


def make_sign_ins(settings: Settings, auth: Authenticator, admission: Admission) -> SignIns:
    return SignIns(
        auth,
        admission,
        by_account=LimitPolicy(requests=parse_limits(settings.auth.sign_in_failures)),
        by_address=LimitPolicy(requests=parse_limits(settings.auth.sign_in_failures_per_address)),
    )


def make_tickets(start: Start, store: RedisStreamLog, database: Database) -> Tickets:
    return Tickets(
        Bearers(start.secret, clock=time.time),
        store=store,
        users=SqlUsers(database),
        life_seconds=stream_seconds(start.settings),
        clock=time.time,
    )


def make_administration(
    settings: Settings, *, database: Database, directory: StreamDirectory, keyring: Callable[[], Keyring]
) -> Administration:
    return Administration(
        users=SqlUsers(database),
        credentials=SqlCredentials(database),
        usage=SqlUsageReport(database),
        streams=directory,
        keyring=keyring,
        limits=LimitsInForce(
            requests=settings.limits.requests,
            tokens=settings.limits.tokens,
            streams=settings.limits.concurrent_streams,
            timezone=settings.limits.timezone,
            on_redis_down=settings.limits.on_redis_down,
        ),
        bearer_days=settings.auth.token_days,
        clock=time.time,
    )


def make_message(settings: Settings, database: Database) -> MessageFeature:
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


def make_simple_chat(settings: Settings, ledger: SqlLedger, zone: ZoneInfo) -> SimpleChatFeature:
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


def make_chatapi(start: Start, database: Database, zone: ZoneInfo) -> ChatApiFeature:
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


def make_pro(start: Start, auth: Authenticator) -> ProFeature:
    compat = start.settings.compat
    return ProFeature(ProAccess(auth, passthrough=compat.pro_passthrough_keys, secret=start.secret), compat.pro_model)
