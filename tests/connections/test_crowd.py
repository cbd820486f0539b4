"""Workers that accept from one socket share what comes; one that sleeps, is gone or stops keeps nobody waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tornado.web import Application

from streamproxy.connections.crowd import Crowd, Seat
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


def server(seat: Seat, door: Door) -> DirectServer:
    made = DirectServer(Application(), trusted_proxies=(), seat=seat)
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
    servers = [server(crowd.seat(slot), door) for slot in range(3)]
    door.knock(300)
    await until(lambda: sum(counts(*servers)) == 300, "all are let in")
    # About a hundred each; who steps back takes a few that nobody was quick enough for.
    assert max(counts(*servers)) <= 2 * min(counts(*servers)), counts(*servers)
    await over(*servers)


async def test_what_a_worker_with_fewer_does_not_take_is_taken_by_one_with_more(door: Door) -> None:
    crowd = Crowd(2)
    crowd.seat(1).have(0)  # and it sleeps
    seat = crowd.seat(0)
    awake = server(seat, door)
    door.knock(100)
    await until(lambda: counts(awake) == [100], "all are let in")
    assert seat.is_full
    await over(awake)


async def test_who_left_makes_room(door: Door) -> None:
    crowd = Crowd(2)
    seat = crowd.seat(0)
    first = server(seat, door)
    door.knock(20)
    await until(lambda: counts(first) == [20], "all are let in")
    # The other one accepts nothing: it is not there yet.
    assert not seat.is_full
    second = server(crowd.seat(1), door)
    assert seat.is_full
    for connection in first.occupancy.all:
        connection.abort()
    await until(lambda: counts(first) == [0], "all have left")
    assert not seat.is_full
    await over(first, second)
    assert not seat.is_full


def test_a_few_more_than_another_are_not_too_many() -> None:
    crowd = Crowd(3)
    here, fuller, other = (crowd.seat(slot) for slot in range(3))
    fuller.have(200)
    for own, least, full in ((4, 0, False), (5, 0, True), (160, 140, False), (160, 139, True)):
        here.have(own)
        other.have(least)
        assert here.is_full is full
        assert not other.is_full


def test_nobody_waits_for_a_worker_that_was_killed_and_is_not_back() -> None:
    crowd = Crowd(2)
    here, killed = (crowd.seat(slot) for slot in range(2))
    here.have(100)
    killed.have(1)
    assert here.is_full
    crowd.seat(1)  # for the one that is started in its place
    assert not here.is_full
