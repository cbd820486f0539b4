"""Short transactions that write often, on SQLite, in a thread of their own.

Through the asynchronous engine a transaction is ten trips to the driver's thread (a connection, BEGIN, each statement,
COMMIT, ROLLBACK ...), two milliseconds of CPU in all; here it is one. The way there is a queue and the way back
``call_soon_threadsafe``: an executor's two futures with their locks would take ten times as many steps.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

from sqlalchemy import Connection, Engine

Work: TypeAlias = Callable[[Connection], None]
_Asked: TypeAlias = tuple[Work, asyncio.AbstractEventLoop, asyncio.Future[None]]


class Writer:
    """One connection of *engine*, one thread, which begins with the first work."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._closed = False

    async def run(self, work: Work) -> None:
        """Do *work* in one transaction; SQLAlchemyError as the engine raises it. To its end, even if nobody waits."""
        if self._closed:
            raise RuntimeError("the writer is closed")
        if self._thread is None:
            self._start()
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._queue.put((work, loop, done))
        await done

    def close(self) -> None:
        """No more work is taken; what runs is not waited for."""
        self._closed = True
        if self._thread is None:
            self.engine.dispose()
        else:
            self._queue.put(None)

    def _start(self) -> None:
        # A daemon, as a process that ends without ``close`` would wait for this thread for ever. What was asked for is
        # done all the same.
        self._thread = thread = Thread(target=self._serve, name="sql-writer", daemon=True)
        thread.start()

        def finish() -> None:
            self._queue.put(None)
            thread.join()

        atexit.register(finish)

    def _serve(self) -> None:
        while self._do_next():
            pass
        self.engine.dispose()

    def _do_next(self) -> bool:
        """Do one piece of work and tell who asked for it; False when there will be none any more."""
        asked = self._queue.get()
        if asked is None:
            return False
        work, loop, done = asked
        if not done.cancelled():
            fault = self._fault_of(work)
            # RuntimeError: that loop is closed, so nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, fault)
        return True

    def _fault_of(self, work: Work) -> BaseException | None:
        """Do *work*. What it raised is for who asked; its traceback must not know them, or all would go in a circle."""
        try:
            with self.engine.begin() as connection:
                work(connection)
        except BaseException as exc:  # noqa: BLE001
            return exc
        return None


def _settle(done: asyncio.Future[None], fault: BaseException | None) -> None:
    if done.cancelled():
        return
    if fault is None:
        done.set_result(None)
    else:
        done.set_exception(fault)
