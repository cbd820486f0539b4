"""What the failures of a call mean, in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from streamproxy.errors import UpstreamError, UpstreamTimeoutError
from streamproxy.upstream.guard import AddressRefusedError

BROKEN = (aiohttp.ClientError, HttpProcessingError, ConnectionError, EOFError)


@contextmanager
def translated(connect_timeout: float) -> Iterator[None]:
    """UpstreamError for whatever goes wrong inside, from the connection to the head of the answer."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise UpstreamTimeoutError(
            f"the upstream took no connection within {connect_timeout:g} s", code="upstream_connect_timeout"
        ) from exc
    except aiohttp.ClientConnectorError as exc:
        if isinstance(exc.os_error, AddressRefusedError):
            raise address_refused() from exc
        raise UpstreamError("the upstream cannot be reached", code="upstream_unreachable") from exc
    except (*BROKEN, ValueError) as exc:
        raise broken(exc) from exc


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
