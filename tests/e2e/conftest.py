"""Gives the tests clients that are closed with them; ``launch`` starts their servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.launching import Launch
from tests.e2e.server import Person, Server, client_of
from tests.support.http import Client

__all__ = ["Launch", "Speak"]

Speak: TypeAlias = Callable[..., Client]


@pytest.fixture
def speak(io_loop: IOLoop) -> Iterator[Speak]:
    """``speak(server, person, worker=1)``: a client whose connections end with the test."""
    clients: list[Client] = []

    def begin(server: Server, person: Person, *, worker: int = 0) -> Client:
        clients.append(client_of(server, person, worker=worker))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()
