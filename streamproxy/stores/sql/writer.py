"""Short transactions that write often, on SQLite, in a thread of their own.

Through the asynchronous engine a transaction is ten trips to the driver's thread (a connection, BEGIN, each statement,
COMMIT, ROLLBACK ...), two milliseconds of CPU in all; here it is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine


class Writer:
    """One connection of *engine*, one thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql-writer")

    async def run(self, work: Callable[[Connection], None]) -> None:
        """Do *work* in one transaction; SQLAlchemyError as the engine raises it. To its end, even if nobody waits."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[Connection], None]) -> None:
        with self.engine.begin() as connection:
            work(connection)

    def close(self) -> None:
        """No more work is taken; what runs is not waited for."""
        self._thread.submit(self.engine.dispose)
        self._thread.shutdown(wait=False)
