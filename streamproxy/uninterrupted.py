"""A step that is taken to its end, also when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uninterrupted(step: Awaitable[T]) -> T:
    """What *step* returns or raises. Who is cancelled meanwhile goes on, cancelled, when it is over.

    For whoever has to take back, or to know, what the step has taken: still on its way it could come after that.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        # Marked as seen: its failure is nobody's any more.
        task.cancelled() or task.exception()
        raise
