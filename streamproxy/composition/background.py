"""Work that goes on beside the requests for as long as a worker lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

# The pause before work that failed begins again.
AGAIN_SECONDS = 1.0
Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


def in_background(stack: AsyncExitStack, *works: Work) -> None:
    """Begin *works*; *stack* cancels them and waits for their end."""
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
