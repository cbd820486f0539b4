"""What handlers need of the connection that their request came on, whichever server it is of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Pulse(Protocol):
    """Looks now and then whether a client is still there; ``stop`` it when the answer is complete."""

    def stop(self) -> None:
        """Look no more."""


class Client(Protocol):
    """The client of one request."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that runs the request. To ask asyncio for it is a system call (CPython 3.11 looks for forks)."""

    @property
    def taken(self) -> int:
        """Grows whenever the client has taken something of its answer; compare it, it has no unit."""

    def writing(self) -> bool:
        """Whether something of the answer waits that the client's socket has not taken."""

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        """Send a piece of a streamed body, whose head is out. A future where the client is behind, done when it is
        not any more: until then, send nothing else. To one that is gone nothing is sent."""

    def shortest(self) -> Callable[[bytes], asyncio.Future[None] | None] | None:
        """What does as ``send`` in fewer steps, from the head to the end of the answer; None where nothing does."""

    def close(self) -> None:
        """End the connection without an end of the answer; soon runs the handler's ``on_connection_close``."""

    def abort(self) -> None:
        """The same at once: what it has not taken is lost."""

    def set_max_body_size(self, max_body_size: int) -> None:
        """Read so many bytes of this request's body; a longer one is refused."""

    @property
    def watch(self) -> Callable[[float], Pulse] | None:
        """Looks every so many seconds whether the client left; None where the server notices by itself."""
