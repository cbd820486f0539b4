"""What is written in one turn of the loop is sent once, in order, and nobody's trouble is another's."""

from __future__ import annotations

import asyncio

import pytest

from streamproxy.connections.outbox import Outbox


class Noting:
    """Writes its name down; fails where it is told to."""

    def __init__(self, name: str, notes: list[str], *, fails: bool = False) -> None:
        self._name = name
        self._notes = notes
        self._fails = fails

    def flush(self) -> None:
        self._notes.append(self._name)
        if self._fails:
            raise OSError(self._name)


async def test_nothing_leaves_before_the_end_of_the_turn_and_all_of_it_then() -> None:
    notes: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Noting("first", notes))
    outbox.add(Noting("second", notes))
    assert notes == []
    await asyncio.sleep(0)
    assert notes == ["first", "second"]
    await asyncio.sleep(0)
    outbox.add(Noting("third", notes))
    await asyncio.sleep(0)
    assert notes == ["first", "second", "third"]


async def test_who_cannot_be_sent_to_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Noting("broken", notes, fails=True))
    outbox.add(Noting("sound", notes))
    await asyncio.sleep(0)
    assert notes == ["broken", "sound"]
    assert [record.message for record in caplog.records] == ["an answer could not be sent on"]
