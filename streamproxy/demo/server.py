"""Starting and stopping the demo model: inside a worker's loop, or as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from streamproxy.demo.handlers import Pause, application
from streamproxy.demo.models import MODELS
from streamproxy.domain.tokens import TokenCounters
from streamproxy.errors import ConfigurationError
from streamproxy.tokenizer import Tokenizer

# More than streamproxy itself lets through, so that ours is never the bound that a test meets.
LARGEST_BODY = 8 << 20


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running demo model. *base_url* ends in ``/v1``; over *unix_socket* its host stands for nothing."""

    base_url: str
    unix_socket: str | None
    _server: HTTPServer = field(repr=False)

    async def close(self) -> None:
        """Stop listening and end running answers."""
        self._server.stop()
        await self._server.close_all_connections()
        if self.unix_socket is not None:
            with suppress(FileNotFoundError):
                Path(self.unix_socket).unlink()  # noqa: ASYNC240  # one unlink


async def start_demo(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    unix_socket: str | None = None,
    counters: TokenCounters | None = None,
    pause: Pause = asyncio.sleep,
) -> DemoServer:
    """Serve on *host* and *port* (0 takes a free one), or on *unix_socket* (mode 0600) alone.

    *counters* are the caller's own, if it has some; *pause* sets the pace. ConfigurationError when the place
    is taken or cannot be had.
    """
    app = application(counters or Tokenizer(), pause)
    server = HTTPServer(app, max_body_size=LARGEST_BODY, idle_connection_timeout=75, body_timeout=30)
    try:
        listening = bind_unix_socket(unix_socket) if unix_socket else _bound(host, port)
    except OSError as exc:
        place = unix_socket or f"port {port} of {host}"
        raise ConfigurationError(f"The demo model cannot listen on {place}: {exc.strerror}. Choose another.") from exc
    server.add_socket(listening)
    if unix_socket:
        return DemoServer("http://localhost/v1", unix_socket, server)
    return DemoServer(f"http://{_reachable(host)}:{listening.getsockname()[1]}/v1", None, server)


def _bound(host: str, port: int) -> socket.socket:
    """Tornado's bind_sockets leaves its socket to the garbage collector when the port is taken."""
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.settimeout(0)
    return listening


def _reachable(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def run(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, after saying where. ConfigurationError as ``start_demo``."""
    asyncio.run(_serve(host, port))


async def _serve(host: str, port: int) -> None:
    demo = await start_demo(host=host, port=port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    click.echo(f"The demo model listens on {demo.base_url} (models {', '.join(MODELS)}). Stop it with Ctrl-C.")
    await stop.wait()
    await demo.close()
