"""Ends what nobody waits for any more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import msgspec

from streamproxy.connections.client import Client, Pulse


class Listening(msgspec.Struct):
    """Use as ``with``: cancels what *task* does inside as soon as its client leaves, and ends quietly then.

    The cancellation comes once; what settles the request inside may await as it needs. Whether the client is still
    there is looked at *every* so many seconds where it has to be. *left*: it is gone already.
    """

    task: asyncio.Task[Any] | None
    client: Client
    every: float
    left: bool
    pulse: Pulse | None = None

    def __enter__(self) -> None:
        watch = self.client.watch
        if watch is not None:
            self.pulse = watch(self.every)
        if self.left:
            # It left before this began: what runs inside ends where it first waits, as if it had just left.
            self.leave()

    def leave(self) -> None:
        """The client has left."""
        self.left = True
        if self.task is not None:
            self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self.task = self.task, None
        if self.pulse is not None:
            self.pulse.stop()
        if not self.left or task is None or not isinstance(error, asyncio.CancelledError):
            return False
        task.uncancel()
        return True
