"""What the failures of a call mean, in our words."""

from __future__ import annotations

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from streamproxy.errors import UpstreamError, UpstreamTimeoutError
from streamproxy.upstream.guard import AddressRefusedError

BROKEN = (aiohttp.ClientError, HttpProcessingError, ConnectionError, EOFError)


def unopened(error: Exception, connect_timeout: float) -> UpstreamError:
    """What went wrong (one of ``BROKEN``, or a ValueError) between the connection and the head of the answer."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeoutError(
            f"the upstream took no connection within {connect_timeout:g} s", code="upstream_connect_timeout"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, AddressRefusedError):
            return address_refused()
        return UpstreamError("the upstream cannot be reached", code="upstream_unreachable")
    return broken(error)


def broken(error: Exception) -> UpstreamError:
    """Never copy the message or ``status`` of an aiohttp error: it says 400 of its own for garbage."""
    if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError, ValueError)):
        return malformed()
    return disconnected()


def malformed() -> UpstreamError:
    return UpstreamError("the upstream answered with something that is not HTTP", code="upstream_malformed")


def disconnected() -> UpstreamError:
    return UpstreamError("the upstream closed the connection", code="upstream_disconnected")


def foreign_encoding() -> UpstreamError:
    return UpstreamError("the upstream answered in an encoding nobody asked for", code="upstream_malformed")


def address_refused() -> UpstreamError:
    return UpstreamError("the upstream has an address that may not be called", code="upstream_address_refused")
