"""What a running answer may use: exact at the end of the window, and cheap before it."""

from __future__ import annotations

import json

import pytest

from streamproxy.services.budget import AnswerBudget


def frame(text: str) -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % json.dumps(text).encode()


class Window:
    """A token is a word here. *room* is what may still be reserved; *counted* how many words were counted."""

    def __init__(self, allowance: int, room: int) -> None:
        self.room = room
        self.counted = 0
        self.asked: list[int] = []
        self.budget = AnswerBudget(count=self.count, allowance=allowance, extend=self.extend)

    def count(self, text: str) -> int:
        self.counted += len(text.split())
        return len(text.split())

    async def extend(self, tokens: int) -> bool:
        self.asked.append(tokens)
        if tokens > self.room:
            return False
        self.room -= tokens
        return True

    async def words(self, frames: list[bytes]) -> int:
        """How many frames of one word each get through, as a delivery hands them over."""
        passed = 0
        for one in frames:
            if self.budget.covers(one):
                passed += 1
                continue
            passed += bool(await self.budget.cut(one))
            if self.budget.stopped:
                break
        return passed


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


async def test_a_long_answer_asks_less_and_less_often() -> None:
    window = Window(allowance=10, room=10**9)
    assert await window.words([frame("word ")] * 20_000) == 20_000
    assert len(window.asked) < 15
    assert window.counted < 2 * 20_000


async def test_a_batch_is_cut_between_its_events() -> None:
    window = Window(allowance=2, room=0)
    batch = frame("one ") + frame("two ") + frame("three ")
    assert not window.budget.covers(batch)
    assert await window.budget.cut(batch) == frame("one ") + frame("two ")
    assert window.budget.stopped
