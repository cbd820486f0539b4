"""Finds who answers a request whose body is there or will come without being asked for, and has it answered then.

Tornado asks a dozen rules for each request, and makes futures and a task that waits for the body. Here paths that have
been asked for before are known, and a handler runs when all of its body is there, which is mostly at once.

Inner part, seen in Tornado 6.6 (``tests/connections/test_reception.py`` holds it to the installed version): what
``Application.find_handler`` has found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.web import Application

from streamproxy.connections.handler import LeanHandler
from streamproxy.connections.head import Head

# More paths than that without a part that differs has no application.
_MOST_PATHS = 256
_DEMANDS = frozenset({"xsrf_cookies", "cross_origin_protection"})


class Found(NamedTuple):
    """Who answers: what he is made with, and what the path says to him."""

    handler: type[LeanHandler]
    given: dict[str, Any]
    arguments: list[bytes]
    named: dict[str, bytes]


class Reception:
    """One server's, for its *application*, which has all its routes."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop = asyncio.get_running_loop()
        # By paths that say it all: they have no parts that differ, and no host has routes of its own.
        self._by_path: dict[str, Found] = {}
        # What Tornado does about a request where it is told to.
        self._demanding = application.transforms or not _DEMANDS.isdisjoint(application.settings)
        self._one_host = len(application.default_router.rules) == 1
        # The loop itself would forget a task that waits.
        self._running: set[asyncio.Task[None]] = set()

    def receive(self, request: HTTPServerRequest, body: bytes) -> bool:
        """Have *request* answered, whose whole *body* is there; False where Tornado has to do that."""
        path = request.path
        found = self._by_path[path] if path in self._by_path else self._find(request)
        if found is None:
            return False
        handler = found.handler(self._application, request, **found.given)
        if body:
            handler.data_received(body)
        self._run(handler, found)
        return True

    def delegate(self, request: HTTPServerRequest, head: Head) -> HTTPMessageDelegate:
        """Who is to be handed what comes of *request*."""
        # A body that has to be asked for, or whose size nobody knows, is for whoever is let in: Tornado waits for that.
        asked = head.waits or head.length is None
        found = None if asked else self._find(request)
        if found is None:
            return self._application.find_handler(request)
        handler = found.handler(self._application, request, **found.given)
        return _Arriving(handler, lambda: self._run(handler, found))

    def _run(self, handler: LeanHandler, found: Found) -> None:
        running = self._running
        handler.task = task = self._loop.create_task(handler.run(found.arguments, found.named, running))
        running.add(task)

    def _find(self, request: HTTPServerRequest) -> Found | None:
        delegate = self._application.find_handler(request)
        handler = delegate.handler_class
        if not issubclass(handler, LeanHandler) or not handler.lean or self._demanding:
            return None
        found = Found(handler, delegate.handler_kwargs, delegate.path_args, delegate.path_kwargs)
        # The default's paths are whatever strangers make up.
        unknown = handler is self._application.settings.get("default_handler_class")
        literal = self._one_host and not (unknown or found.arguments or found.named)
        if literal and len(self._by_path) < _MOST_PATHS:
            self._by_path[request.path] = found
        return found


class _Arriving(HTTPMessageDelegate):
    """A request that is not there as a whole yet; then *run* is called."""

    def __init__(self, handler: LeanHandler, run: Callable[[], None]) -> None:
        self._handler = handler
        self.finish = run  # type: ignore[method-assign]

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:  # noqa: ARG002 - it was made with them
        self._handler.expect_body()

    def data_received(self, chunk: bytes) -> None:
        self._handler.data_received(chunk)

    def on_connection_close(self) -> None:
        self._handler.on_connection_close()
