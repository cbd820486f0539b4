"""The time limits of a running answer, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from streamproxy.errors import UpstreamTimeoutError
from streamproxy.services.deadlines import AtMost, Deadlines, Timeouts, idle_error, total_error
from tests.support.steered import SteeredLoop


@pytest.fixture
def loop() -> Iterator[SteeredLoop]:
    steered = SteeredLoop()
    yield steered
    steered.close()


class Watched:
    """Deadlines, and what they said."""

    def __init__(self, loop: SteeredLoop, *, idle: float, total: float, asked: float = 0.0) -> None:
        self.said: list[str] = []
        self.deadlines: Deadlines
        loop.run_until_complete(self._make(Timeouts(first_event=1, idle=idle, total=total), loop.now - asked))

    async def _make(self, timeouts: Timeouts, started: float) -> None:
        self.deadlines = Deadlines(timeouts, lambda error: self.said.append(error.code), started=started)


def test_silence_ends_an_answer_at_the_idle_limit(loop: SteeredLoop) -> None:
    watched = Watched(loop, idle=10, total=600)
    loop.move(9)
    assert watched.said == []
    loop.move(1)
    assert watched.said == ["upstream_idle_timeout"]


def test_every_event_begins_the_wait_anew(loop: SteeredLoop) -> None:
    watched = Watched(loop, idle=10, total=600)
    for _ in range(50):
        loop.move(9)
        watched.deadlines.touch()
    loop.move(9)
    assert watched.said == []
    loop.move(1)
    assert watched.said == ["upstream_idle_timeout"]


def test_a_model_that_says_a_word_every_half_minute_may_take_twenty_minutes(loop: SteeredLoop) -> None:
    """U21: where the total limit allows it, nothing times out."""
    watched = Watched(loop, idle=120, total=3600)
    for _ in range(40):
        loop.move(30)
        watched.deadlines.touch()
    assert watched.said == []


def test_the_total_limit_counts_from_the_question(loop: SteeredLoop) -> None:
    """Not from the first event, for which the client has been waiting too."""
    watched = Watched(loop, idle=100, total=60, asked=50)
    for _ in range(9):
        loop.move(1)
        watched.deadlines.touch()
    assert watched.said == []
    loop.move(1)
    assert watched.said == ["upstream_total_timeout"]


def test_a_client_that_takes_its_time_is_no_silent_upstream(loop: SteeredLoop) -> None:
    """While it takes an event nobody waits for the next one."""
    watched = Watched(loop, idle=10, total=600)
    watched.deadlines.pause()
    for _ in range(5):
        loop.move(9)
    assert watched.said == []
    watched.deadlines.touch()
    loop.move(9)
    assert watched.said == []
    loop.move(1)
    assert watched.said == ["upstream_idle_timeout"]


def test_the_total_limit_holds_for_slow_clients_too(loop: SteeredLoop) -> None:
    watched = Watched(loop, idle=10, total=60)
    watched.deadlines.pause()
    for _ in range(6):
        loop.move(10)
    assert watched.said == ["upstream_total_timeout"]


def test_an_answer_that_has_ended_is_not_timed(loop: SteeredLoop) -> None:
    watched = Watched(loop, idle=10, total=60)
    watched.deadlines.stop()
    loop.move(1000)
    assert watched.said == []


@pytest.mark.parametrize(
    ("limits", "late_after", "code"),
    [
        (Timeouts(first_event=10, idle=10, total=60), 14, "upstream_idle_timeout"),
        (Timeouts(first_event=5, idle=20, total=60), 24, "upstream_idle_timeout"),
        (Timeouts(first_event=30, idle=3, total=60), 7, "upstream_idle_timeout"),
        (Timeouts(first_event=10, idle=30, total=20), 20, "upstream_total_timeout"),
        (Timeouts(first_event=30, idle=30, total=20), 20, "upstream_total_timeout"),
    ],
)
def test_the_timer_of_a_beginning_goes_on_for_the_rest(
    loop: SteeredLoop, limits: Timeouts, late_after: int, code: str
) -> None:
    said: list[str] = []
    task = loop.create_task(begun(loop, limits, said))
    loop.move(0)
    for _ in range(late_after - 1):
        loop.move(1)
    assert said == []
    assert not task.cancelled()
    loop.move(1)
    assert said == [code]
    loop.move(1000)
    assert said == [code]


async def begun(loop: SteeredLoop, limits: Timeouts, said: list[str]) -> Deadlines:
    """Of an answer whose first event came after four seconds."""
    async with limits.until_first_event() as limit:
        passed = asyncio.Event()
        loop.call_at(loop.now + 4, passed.set)
        await passed.wait()
        limit.left = True
    return Deadlines(limits, lambda error: said.append(error.code), started=limit.began, after=limit)


def test_a_timer_that_was_left_and_taken_over_by_nobody_does_nothing(loop: SteeredLoop) -> None:
    async def begin() -> None:
        async with Timeouts(first_event=10, idle=10, total=60).until_first_event() as limit:
            limit.left = True
        await asyncio.Event().wait()

    task = loop.create_task(begin())
    loop.move(0)
    loop.move(1000)
    assert not task.done()
    task.cancel()
    loop.move(0)


def test_a_timer_that_was_taken_over_is_stopped_with_the_answer(loop: SteeredLoop) -> None:
    said: list[str] = []
    task = loop.create_task(begun(loop, Timeouts(first_event=10, idle=10, total=60), said))
    loop.move(0)
    for _ in range(5):
        loop.move(1)
    task.result().stop()
    loop.move(1000)
    assert said == []


@pytest.mark.parametrize(
    ("limits", "seconds", "code"),
    [
        (Timeouts(first_event=5, idle=1, total=60), 5, "upstream_first_event_timeout"),
        (Timeouts(first_event=60, idle=1, total=5), 5, "upstream_total_timeout"),
    ],
)
def test_a_beginning_is_bounded_by_the_shorter_limit(
    loop: SteeredLoop, limits: Timeouts, seconds: float, code: str
) -> None:
    async def begin() -> None:
        async with limits.until_first_event():
            await asyncio.Event().wait()

    task = loop.create_task(begin())
    loop.move(0)
    loop.move(seconds - 1)
    assert not task.done()
    loop.move(1)
    with pytest.raises(UpstreamTimeoutError, match=f"{seconds} s") as caught:
        loop.run_until_complete(task)
    assert caught.value.code == code
    assert caught.value.status == 504


@pytest.mark.parametrize("error", [idle_error, total_error])
async def test_a_time_limit_of_somebody_else_is_not_renamed(error: Callable[[float], UpstreamTimeoutError]) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with AtMost(60, error):
            raise TimeoutError
    assert not isinstance(caught.value, UpstreamTimeoutError)


async def forever(limit: AtMost) -> None:
    async with limit:
        await asyncio.Event().wait()


@pytest.mark.parametrize("late", [False, True])
def test_who_is_cancelled_by_others_is_cancelled(loop: SteeredLoop, late: bool) -> None:
    """Also when the time limit passes in the same moment: whoever waits for the task would wait for ever."""

    async def begin() -> None:
        await forever(AtMost(10, total_error))

    task = loop.create_task(begin())
    loop.move(0)
    if late:
        loop.call_at(loop.now + 10, task.cancel)
        loop.move(10)
    else:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_a_limit_that_has_passed_leaves_the_task_as_it_was(loop: SteeredLoop) -> None:
    async def begin() -> int:
        with pytest.raises(UpstreamTimeoutError):
            await forever(AtMost(10, total_error))
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    task = loop.create_task(begin())
    loop.move(0)
    loop.move(10)
    assert loop.run_until_complete(task) == 0


def test_the_outer_of_two_limits_is_told_by_its_own_error(loop: SteeredLoop) -> None:
    async def begin() -> None:
        async with AtMost(5, total_error):
            await forever(AtMost(10, idle_error))

    task = loop.create_task(begin())
    loop.move(0)
    loop.move(5)
    with pytest.raises(UpstreamTimeoutError) as caught:
        loop.run_until_complete(task)
    assert caught.value.code == "upstream_total_timeout"


@pytest.mark.parametrize(
    ("heard_after", "late_after", "code"),
    [
        ((), 30, "upstream_total_timeout"),
        ((3,), 13, "upstream_idle_timeout"),
        ((3, 9), 19, "upstream_idle_timeout"),
        ((3, 12, 21), 30, "upstream_total_timeout"),
    ],
)
def test_once_an_answer_has_begun_its_silence_is_bounded_too(
    loop: SteeredLoop, heard_after: tuple[int, ...], late_after: int, code: str
) -> None:
    limits: list[AtMost] = []

    async def answer() -> None:
        async with Timeouts(first_event=1, idle=10, total=30).until_the_end() as limit:
            limits.append(limit)
            await asyncio.Event().wait()

    task = loop.create_task(answer())
    loop.move(0)
    for second in range(1, late_after):
        loop.move(1)
        if second in heard_after:
            loop.call_soon(limits[0].heard, 10)
            loop.move(0)
    assert not task.done()
    loop.move(1)
    with pytest.raises(UpstreamTimeoutError) as caught:
        loop.run_until_complete(task)
    assert caught.value.code == code
