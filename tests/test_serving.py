"""The listening side: what every accepted connection is set to, so that no peer can hold it for ever."""

from __future__ import annotations

import socket

from tornado.web import Application

from streamproxy.serving import SEND_BUFFER, USER_TIMEOUT_MS, ProxyServer
from tests.support.http import Connection


async def test_a_dead_peer_and_a_slow_one_are_bounded_by_the_kernel() -> None:
    """No FIN comes from a cut cable: unacknowledged for 20 s, a connection is gone; keepalive finds the idle ones."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    port = listening.getsockname()[1]
    server = ProxyServer(Application(), trusted_proxies=())
    server.add_sockets([listening])
    client = await Connection.open(port)
    try:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.head()).status == 404
        (connection,) = server._connections
        sock = connection.stream.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS == 20_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        # The kernel doubles what it is asked for.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER
    finally:
        client.leave()
        server.stop()
        await server.close_all_connections()
