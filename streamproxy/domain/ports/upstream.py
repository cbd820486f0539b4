"""Calls to upstreams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class UpstreamReply(Protocol):
    """An upstream's answer, its head already here. Close it on every way out."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def batch(self) -> bytes:
        """What has arrived since the last call, waiting for at least one byte; ``b""`` at the end.

        UpstreamError when the connection breaks or the bytes are no HTTP.
        """

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Hand every batch to *take* as it arrives, where that is possible without a task in between.

        Returns at the end of the body, or when *take* returned false. UpstreamError as ``batch``.
        """

    def pause(self) -> None:
        """Whoever takes the batches is behind: read no more from the upstream until ``resume``."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Drop the connection at once; a pending ``batch`` or ``pour`` raises. The upstream sees it and stops."""

    async def finish(self) -> None:
        """The answer is complete: let the connection serve the next request if it is clean, else drop it."""


class UpstreamTransport(Protocol):
    """Opens calls to upstreams over HTTP."""

    async def open(self, url: str, *, headers: Mapping[str, str], body: Sequence[bytes] | None) -> UpstreamReply:
        """Send a POST of the pieces of *body* (a GET when it is None) and wait for the head of the answer.

        UpstreamError with code ``upstream_unreachable`` when no connection came about (nothing was
        sent), UpstreamTimeoutError ``upstream_connect_timeout`` likewise, and
        ``upstream_disconnected`` or ``upstream_malformed`` when the connection failed after that.
        """
