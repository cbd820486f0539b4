"""What is written in one turn of the loop is sent once, in order, and nobody's trouble is another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamproxy.connections.outbox import Outbox


class Noting:
    """A sender whose transport writes down what it gets; it fails where it is told to."""

    def __init__(self, said: str, notes: list[str], *, fails: bool = False) -> None:
        self.closed = False
        self.outgoing = said.encode()
        self.handed = 0
        self.transport: Any = self
        self._notes = notes
        self._fails = fails

    def write(self, data: bytes) -> None:
        self._notes.append(data.decode())
        if self._fails:
            raise OSError(data)


async def test_nothing_leaves_before_the_end_of_the_turn_and_all_of_it_then() -> None:
    notes: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Noting("first", notes))
    outbox.add(Noting("second", notes))
    assert notes == []
    await asyncio.sleep(0)
    assert notes == ["first", "second"]
    await asyncio.sleep(0)
    third, left = Noting("third", notes), Noting("left", notes)
    outbox.add(third)
    outbox.add(left)
    left.closed = True
    await asyncio.sleep(0)
    assert notes == ["first", "second", "third"]
    assert (third.outgoing, third.handed, left.handed) == (b"", 5, 0)


async def test_who_cannot_be_sent_to_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Noting("broken", notes, fails=True))
    outbox.add(Noting("sound", notes))
    await asyncio.sleep(0)
    assert notes == ["broken", "sound"]
    assert [record.message for record in caplog.records] == ["an answer could not be sent on"]
