"""Ends what nobody waits for any more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from streamproxy.connections.client import Client


class Listening:
    """Use as ``with``: cancels what *task* does inside as soon as its client leaves, and ends quietly then.

    The cancellation comes once; what settles the request inside may await as it needs. Whether the client is still
    there is looked at *every* so many seconds where it has to be.
    """

    __slots__ = ("_client", "_every", "_left", "_pulse", "_task")

    def __init__(self, task: asyncio.Task[Any] | None, client: Client, *, every: float, left: bool) -> None:
        self._task = task
        self._client = client
        self._every = every
        self._left = left

    def __enter__(self) -> None:
        self._pulse = self._client.watch(self._every)
        if self._left:
            # It left before this began: what runs inside ends where it first waits, as if it had just left.
            self.leave()

    def leave(self) -> None:
        """The client has left."""
        self._left = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self._pulse is not None:
            self._pulse.stop()
        if not self._left or task is None or not isinstance(error, asyncio.CancelledError):
            return False
        task.uncancel()
        return True
