"""What a running answer may use: exact at the end of the window, and cheap before it."""

from __future__ import annotations

import json

import pytest

from streamproxy.services.budget import AnswerBudget
from streamproxy.wire.chat import Transcript


def frame(text: str) -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % json.dumps(text).encode()


class Window:
    """A token is a word here. *room* is what may still be reserved of *size*; *counted* words were counted."""

    def __init__(self, allowance: int, room: int, *, size: int | None = None) -> None:
        self.room = room
        self.size = allowance + room if size is None else size
        self.counted = 0
        self.asked: list[int] = []
        self.transcript = Transcript()
        self.budget = AnswerBudget(
            self.transcript,
            counter=self.counter,
            off_loop=self.count_elsewhere,
            allowance=allowance,
            extend=self.extend,
        )

    def count(self, text: str) -> int:
        self.counted += len(text.split())
        return len(text.split())

    async def counter(self) -> Window:
        return self

    async def count_elsewhere(self, text: str) -> int:
        return self.count(text)

    async def extend(self, tokens: int, *, spare: bool = False) -> bool:
        self.asked.append(tokens)
        if tokens > self.room - (self.size - self.size // 2 if spare else 0):
            return False
        self.room -= tokens
        return True

    async def words(self, frames: list[bytes]) -> int:
        """How many frames of one word each get through, handed over as a delivery does it."""
        room = self.budget.room
        for one in frames:
            room -= len(one)
            if room >= 0:
                self.transcript.add(one)
                continue
            if not self.budget.covers(one):
                self.transcript.add(await self.budget.cut(one))
            room = self.budget.room
            if self.budget.stopped:
                break
        return self.transcript.read().chunks


async def test_what_cannot_have_used_up_the_budget_is_not_counted() -> None:
    window = Window(allowance=10_000, room=0)
    assert await window.words([frame("word ")] * 40) == 40
    assert (window.counted, window.asked) == (0, [])


@pytest.mark.parametrize("allowance", [0, 1, 3, 50, 99, 100])
async def test_the_last_token_that_is_covered_passes_and_the_next_does_not(allowance: int) -> None:
    window = Window(allowance=allowance, room=100 - allowance)
    assert await window.words([frame("word ")] * 300) == 100
    assert window.budget.stopped
    assert window.room == 0


@pytest.mark.parametrize("used", [0, 5_000, 60_000, 120_000])
async def test_an_answer_is_cut_at_the_same_token_however_full_the_window_was(used: int) -> None:
    """Large pieces come first, small ones once half of the window is used: all of it gets used, and no more."""
    window = Window(allowance=100, room=150_000 - used, size=150_100)
    assert await window.words([frame("word ")] * 200_000) == 150_100 - used
    assert window.budget.stopped
    assert window.room == 0


async def test_while_half_of_the_window_is_free_nothing_is_counted() -> None:
    window = Window(allowance=10, room=10**9)
    assert await window.words([frame("word ")] * 20_000) == 20_000
    assert window.counted == 0
    assert len(window.asked) < 10


async def test_beyond_half_of_the_window_only_what_is_needed_is_reserved() -> None:
    """What is reserved is missing to others."""
    window = Window(allowance=100, room=60_000, size=200_000)
    assert await window.words([frame("word ")] * 3_000) == 3_000
    assert window.size - 140_000 - window.room < 2 * 3_000


async def test_a_long_answer_asks_less_and_less_often() -> None:
    window = Window(allowance=10, room=30_000, size=10**9)
    assert await window.words([frame("word ")] * 20_000) == 20_000
    assert len(window.asked) < 15
    assert window.counted < 2 * 20_000


async def test_a_batch_is_cut_between_its_events() -> None:
    window = Window(allowance=2, room=0)
    batch = frame("one ") + frame("two ") + frame("three ")
    assert not window.budget.covers(batch)
    assert await window.budget.cut(batch) == frame("one ") + frame("two ")
    assert window.budget.stopped
