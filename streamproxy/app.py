"""One worker's life: it is opened, serves, and drains.

What it is made of is put together in ``composition``: nothing below sees the settings, every object gets the plain
values it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from socket import socket

from streamproxy.composition.start import ENDING_SECONDS, Start
from streamproxy.composition.worker import Worker, open_worker
from streamproxy.serving import Server, make_server

log = logging.getLogger(__name__)

# Python's own are made for programs that hold little: with 700 objects to a collection a worker under load runs one
# every fourth request, many of them over all that its open streams hold. Measured with 20-event streams: a third of
# the collector's time.
GC_THRESHOLDS = (10_000, 20, 20)


async def serve(start: Start, sockets: Sequence[socket], *, ready: Callable[[], None]) -> None:
    """Serve on *sockets* until SIGTERM, then drain; a second one stops at once. SIGINT is the supervisor's.

    *ready* is called once requests are being answered.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signalled)
    async with open_worker(start) as worker:
        server = make_server(
            worker.application,
            trusted_proxies=start.settings.server.trusted_proxies,
            shortcuts=start.settings.server.shortcuts,
            seat=start.seat,
        )
        server.add_sockets(sockets)
        # What is alive now lives as long as the worker: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
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


async def _drain(worker: Worker, server: Server, *, grace: float, hurry: asyncio.Event) -> None:
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
