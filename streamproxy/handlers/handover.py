"""Sends the readers of a worker that is about to end to the others, who can read the same log.

Not all at once: whoever takes them is to notice nothing. ``EventSource`` comes back by itself, when it was told to,
behind the last event it saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import SystemRandom

# Readers leave within this time after the drain has begun, and come back within that one.
LEAVE_SECONDS = 1.0
COME_BACK_MILLISECONDS = (200, 2000)
_random = SystemRandom()


class HandedOver(Exception):  # noqa: N818 - what happened, and no error
    """The reader is to go on elsewhere."""


@asynccontextmanager
async def until_handed_over(draining: asyncio.Event) -> AsyncIterator[None]:
    """Interrupt what runs inside by HandedOver, some time after *draining* was set."""
    reading = asyncio.timeout(None)

    async def hand_over() -> None:
        await draining.wait()
        await asyncio.sleep(_random.uniform(0, LEAVE_SECONDS))
        reading.reschedule(asyncio.get_running_loop().time())

    watch = asyncio.create_task(hand_over())
    try:
        async with reading:
            yield
    except TimeoutError:
        if not reading.expired():
            raise
        raise HandedOver from None
    finally:
        watch.cancel()


def come_back() -> bytes:
    """The field that tells an EventSource when."""
    return b"retry: %d\n\n" % _random.randint(*COME_BACK_MILLISECONDS)
