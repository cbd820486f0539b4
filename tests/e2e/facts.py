"""Facts about other processes, which offer no event to wait for: they are asked until they are true."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]


async def until(fact: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    """Wait until *fact* (maybe a coroutine function) of another process, which offers no event, is true; return it."""
    bound = asyncio.timeout(seconds)
    try:
        async with bound:
            while True:
                found = fact()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError as late:
        if not bound.expired():
            raise
        raise TimeoutError(f"not within {seconds:g} s: {what}") from late


async def until_some(rows: Callable[[], Any], count: int) -> Any:
    """Wait until there are *count* rows; AssertionError when there are more."""
    found: Sequence[Any] = ()

    async def enough() -> bool:
        nonlocal found
        found = await rows()
        return len(found) >= count

    await until(enough, f"{count} rows")
    assert len(found) == count, f"{len(found)} rows instead of {count}: {found}"
    return found


async def until_gone(pid: int, seconds: float) -> None:
    """Wait until the process *pid* is no more; a zombie that waits for its parent counts as gone."""

    def gone() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await until(gone, f"process {pid} has ended", seconds)


def kill(pid: int) -> None:
    """SIGKILL, as the kernel's out-of-memory killer sends it."""
    psutil.Process(pid).send_signal(signal.SIGKILL)
