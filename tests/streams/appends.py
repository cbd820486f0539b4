"""``python -m tests.streams.appends``: what it costs to record resumable streams, in CPU time of worker and Redis.

An append carries the events of one stream since the last one; a round is the appends of all streams of a worker in
one round trip. CPU time hardly depends on what else the machine does. Bytes are what Redis holds a recorded event by.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import uvloop

from streamproxy.domain.streamlog import StreamHead
from streamproxy.services.livestream import MOST_EVENTS_OF_A_STREAM, LiveStream
from streamproxy.services.recorder import Recorder
from streamproxy.stores.redis import stream_keys
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.support.redis_server import RedisServer

SECONDS = 2.0
# Half of what a stream may hold: the second half is generated only.
MOST_EVENTS = MOST_EVENTS_OF_A_STREAM // 2 - 100
# Streams that run at once on the worker, and events of each in one append.
CASES = ((1, 1), (1, 10), (100, 1), (100, 10))


def payload(number: int) -> bytes:
    """A chunk as OpenAI sends it, with a word of text."""
    return (
        b'{"id":"chatcmpl-A1b2C3d4E5f6G7h8I9j0","object":"chat.completion.chunk","created":1764115200,'
        b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_1234567890","choices":'
        b'[{"index":0,"delta":{"content":" word%d"},"logprobs":null,"finish_reason":null}]}' % (number % 1000)
    )


async def measured(url: str, redis_process: psutil.Process, streams: int, events: int) -> str:
    """One line of the table."""
    link = await open_redis(url, timeout_seconds=5)
    await link.command("FLUSHALL")
    log = RedisStreamLog(link, replay_seconds=300, running_seconds=900, lease_seconds=6)
    recorder = Recorder(log, owner="bench", fenced=lambda _: None, renew_seconds=2)
    try:
        lives = [await opened(recorder, number) for number in range(streams)]
        rounds, worker, redis = await used(
            redis_process, lambda: one_round(recorder, lives, events), most=MOST_EVENTS // events
        )
        _, generating, _ = await used(redis_process, lambda: only_generated(lives, events), most=rounds, seconds=60)
        held = [int(await link.command("MEMORY", "USAGE", stream_keys(live.head.stream_id)[1])) for live in lives]
    finally:
        await link.close()
    appends = rounds * streams
    each = (worker - generating) / appends * 1e6, redis / appends * 1e6
    bytes_an_event = sum(held) / (appends * events)
    cells = (streams, events, each[0], each[1], each[0] / events, bytes_an_event)
    return "| {} | {} | {:.1f} | {:.1f} | {:.2f} | {:.0f} |".format(*cells)


async def opened(recorder: Recorder, number: int) -> LiveStream:
    head = StreamHead(f"st_{number:022}", "u_1", "m", 0.0, "req_1", "/v1/streams")
    live = LiveStream(head, max_bytes=1 << 30, changed=recorder.changed)
    await recorder.open(live)
    return live


async def one_round(recorder: Recorder, lives: list[LiveStream], events: int) -> None:
    await only_generated(lives, events)
    await recorder.flush()


async def only_generated(lives: list[LiveStream], events: int) -> None:
    """The part of a round that an unrecorded stream would cost as well."""
    for live in lives:
        live.take(b"".join(b"data: %b\n\n" % payload(live.last + i) for i in range(events)))


async def used(
    redis_process: psutil.Process, work: Callable[[], Awaitable[None]], *, most: int, seconds: float = SECONDS
) -> tuple[int, float, float]:
    """Repeat *work* for *seconds* and *most* times at most: how often, CPU seconds here, CPU seconds of Redis."""
    done, end = 0, time.monotonic() + seconds
    redis_before, before = sum(redis_process.cpu_times()[:2]), time.process_time()
    while done < most and time.monotonic() < end:
        await work()
        done += 1
    return done, time.process_time() - before, sum(redis_process.cpu_times()[:2]) - redis_before


def main() -> None:
    """Print the table."""
    print("| streams at once | events an append | worker, µs an append | Redis, µs an append | µs an event | bytes |")
    print("|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="appends") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            assert server._process is not None
            process = psutil.Process(server._process.pid)
            for streams, events in CASES:
                print(uvloop.run(measured(server.url, process, streams, events)), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
