"""Workers that accept from one socket share what comes; one that sleeps, is gone or stops keeps nobody waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tornado.web import Application

from streamproxy.connections.crowd import Crowd
from streamproxy.connections.server import DirectServer
from tests.e2e.facts import until


class Door:
    """A listening socket, and those who knock at it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))

    def knock(self, times: int) -> None:
        for _ in range(times):
            self._stack.enter_context(socket.create_connection(self.socket.getsockname()))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def server(crowd: Crowd, slot: int, door: Door) -> DirectServer:
    made = DirectServer(Application(), trusted_proxies=(), seat=crowd.seat(slot))
    made.add_sockets([door.socket.dup()])
    return made


def counts(*servers: DirectServer) -> list[int]:
    return [server.occupancy.count for server in servers]


async def over(*servers: DirectServer) -> None:
    for server in servers:
        server.stop()
        await server.close_all_connections()


async def test_a_crowd_at_the_door_is_shared(door: Door) -> None:
    crowd = Crowd(3)
    servers = [server(crowd, slot, door) for slot in range(3)]
    door.knock(300)
    await until(lambda: sum(counts(*servers)) == 300, "all are let in")
    # About a hundred each; who steps back takes a few that nobody was quick enough for.
    assert max(counts(*servers)) <= 2 * min(counts(*servers)), counts(*servers)
    await over(*servers)


async def test_what_a_worker_with_fewer_does_not_take_is_taken_by_one_with_more(door: Door) -> None:
    crowd = Crowd(2)
    crowd.seat(1).have(0)  # and it sleeps
    awake = server(crowd, 0, door)
    door.knock(100)
    await until(lambda: counts(awake) == [100], "all are let in")
    assert crowd.seat(0).is_full
    await over(awake)


async def test_who_left_makes_room(door: Door) -> None:
    crowd = Crowd(2)
    first = server(crowd, 0, door)
    door.knock(20)
    await until(lambda: counts(first) == [20], "all are let in")
    # The other one accepts nothing: it is not there yet.
    assert not crowd.seat(0).is_full
    second = server(crowd, 1, door)
    assert crowd.seat(0).is_full
    for connection in first.occupancy.all:
        connection.abort()
    await until(lambda: counts(first) == [0], "all have left")
    assert not crowd.seat(0).is_full
    await over(first, second)
    assert not crowd.seat(0).is_full


def test_a_few_more_than_another_are_not_too_many() -> None:
    crowd = Crowd(3)
    for own, least, full in ((4, 0, False), (5, 0, True), (160, 140, False), (160, 139, True)):
        crowd.seat(0).have(own)
        crowd.seat(1).have(200)
        crowd.seat(2).have(least)
        assert crowd.seat(0).is_full is full
        assert not crowd.seat(2).is_full
