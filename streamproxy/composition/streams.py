"""Builds what is known of streams beyond the request that began them: their logs, and where they run."""

from __future__ import annotations

import os
import platform
import secrets
import time

from streamproxy.services.chat import ChatService
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.parts import Parts
from streamproxy.services.streams import StreamService
from streamproxy.settings import Settings
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.streamboard import RedisStreamBoard
from streamproxy.stores.redis.streams import RedisStreamLog
from streamproxy.stores.sql.ledger import SqlLedger


def stream_seconds(settings: Settings) -> float:
    """How long a stream can be read at most: while it is generated, and afterwards."""
    return settings.upstream.total_timeout + settings.sessions.wait_seconds + settings.streams.replay_seconds


def make_stream_log(settings: Settings, redis: RedisLink) -> RedisStreamLog:
    return RedisStreamLog(
        redis,
        replay_seconds=settings.streams.replay_seconds,
        running_seconds=stream_seconds(settings),
        lease_seconds=settings.streams.lease_seconds,
    )


def make_streams(settings: Settings, chat: ChatService, store: RedisStreamLog, ledger: SqlLedger) -> StreamService:
    return StreamService(
        chat,
        store=store,
        ledger=ledger,
        owner=secrets.token_urlsafe(16),
        max_bytes=settings.streams.max_bytes,
        lease_seconds=settings.streams.lease_seconds,
        clock=time.time,
    )


def make_directory(parts: Parts, streams: StreamService, redis: RedisLink) -> StreamDirectory:
    worker = f"{platform.node()}:{os.getpid()}"
    return StreamDirectory(parts.running, RedisStreamBoard(redis), end=streams.end, worker=worker, clock=time.time)
