"""What a conversation is promised, on real Redis and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.sessions import EMPTY, NO_PLACE, Context, KeptTurns, Message, Place, Queued, SessionRef, Turn
from streamproxy.errors import SessionBusyError
from streamproxy.stores.redis import queue_keys, session_keys
from streamproxy.stores.redis.connect import Argument, Call, RedisLink
from streamproxy.stores.redis.scripts import Script
from streamproxy.stores.redis.sessions import MAX_WAITING, RedisSessions
from tests.stores.redis.clock import ClockedLink

SYSTEM: Message = {"role": "system", "content": "Antworte kurz. 简短 🙂"}


def turn(name: str, tokens: int = 10, messages: int = 2) -> Turn:
    return Turn(name, tuple({"role": "user", "content": f"{name} {n} 你好\n"} for n in range(messages)), tokens)


@pytest.fixture
def ref() -> SessionRef:
    return SessionRef(uuid4().hex, "chat:1")


@pytest.fixture
def sessions(clocked: ClockedLink) -> RedisSessions:
    return RedisSessions(clocked, ttl_seconds=1800, max_tokens=100, max_messages=10)


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    """Return when *ready*: for what happens in Redis, which announces nothing."""
    async with asyncio.timeout(20):
        while not await ready():  # noqa: ASYNC110 (Redis has no event to wait for)
            await asyncio.sleep(0)


async def asked(sessions: RedisSessions, link: RedisLink, ref: SessionRef, name: str, arrival: int = 0) -> Place:
    """Where the turn *name* is when it asks once."""
    answers = await link.run_and_read(sessions.entering(ref, name, Queued(arrival)), sessions.reading(ref))
    return await sessions.place(ref, *answers)


async def waiting(link: RedisLink, ref: SessionRef, count: int) -> None:
    """Return when *count* turns wait."""

    async def ready() -> bool:
        return bool(await link.command("ZCARD", queue_keys(ref)[0]) == count)

    await until(ready)


async def test_a_new_session_is_empty(sessions: RedisSessions, ref: SessionRef) -> None:
    assert await sessions.enter(ref, "t1", 1) == EMPTY
    assert await sessions.read(ref) is None
    assert await sessions.forget(ref) is False


async def test_what_was_said_comes_back(sessions: RedisSessions, ref: SessionRef) -> None:
    """System message and turns, in order, as JSON values."""
    await sessions.append(ref, turn("t1"), SYSTEM)
    await sessions.append(ref, turn("t2"), None)
    context = await sessions.enter(ref, "t3", 1)
    assert (context.system, context.turns) == (SYSTEM, (turn("t1"), turn("t2")))
    assert await sessions.read(ref) is not None


async def test_the_newest_system_message_wins(sessions: RedisSessions, ref: SessionRef) -> None:
    await sessions.append(ref, turn("t1"), SYSTEM)
    newer: Message = {"role": "developer", "content": "new"}
    await sessions.append(ref, turn("t2"), newer)
    context = await sessions.read(ref)
    assert context is not None
    assert context.system == newer


async def test_a_turn_is_appended_once(sessions: RedisSessions, ref: SessionRef) -> None:
    for _ in range(3):
        await sessions.append(ref, turn("t1"), None)
    context = await sessions.read(ref)
    assert context is not None
    assert context.turns == (turn("t1"),)


async def test_the_oldest_turns_leave_when_tokens_are_too_many(sessions: RedisSessions, ref: SessionRef) -> None:
    for n, tokens in enumerate([50, 30, 30, 40]):
        await sessions.append(ref, turn(f"t{n}", tokens), None)
    context = await sessions.read(ref)
    assert context is not None
    assert [t.id for t in context.turns] == ["t1", "t2", "t3"]


async def test_the_newest_turn_stays_however_long(sessions: RedisSessions, link: RedisLink, ref: SessionRef) -> None:
    """And of those that left nothing stays behind."""
    await sessions.append(ref, turn("t1", 60), None)
    await sessions.append(ref, turn("t2", 1000), None)
    context = await sessions.read(ref)
    assert context is not None
    assert context.turns == (turn("t2", 1000),)
    content, said = session_keys(ref)
    assert await link.command("LLEN", said) == 1
    assert await link.command("HMGET", content, "turns", "messages", "tokens") == [b"1", b"2", b"1000"]


async def test_messages_are_bounded_too(sessions: RedisSessions, ref: SessionRef) -> None:
    for n in range(4):
        await sessions.append(ref, turn(f"t{n}", 1, messages=4), None)
    context = await sessions.read(ref)
    assert context is not None
    assert [t.id for t in context.turns] == ["t2", "t3"]


async def test_only_a_finished_turn_renews_the_life(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """Reading, entering and leaving do not; the end of life is told by Redis's time."""
    content, said = session_keys(ref)
    await sessions.append(ref, turn("t1"), None)
    for key in (content, said):
        await clocked.command("PEXPIRE", key, 100_000)
    await sessions.enter(ref, "t2", 1)
    context = await sessions.read(ref)
    await sessions.leave(ref, "t2")
    assert context is not None
    assert context.expires_at <= clocked.now / 1_000_000 + 100
    assert await clocked.command("PTTL", content) <= 100_000
    await sessions.append(ref, turn("t3"), None)
    for key in (content, said):
        assert 1_700_000 < await clocked.command("PTTL", key) <= 1_800_000


async def test_an_expired_session_starts_anew(clocked: ClockedLink, ref: SessionRef) -> None:
    """The next message is the first of a new conversation."""
    sessions = RedisSessions(clocked, ttl_seconds=0.001, max_tokens=100)
    await sessions.append(ref, turn("t1"), SYSTEM)

    async def expired() -> bool:
        return await sessions.read(ref) is None

    await until(expired)
    assert await sessions.enter(ref, "t2", 1) == EMPTY


class OvertakenLink(ClockedLink):
    """Somebody else's step comes between a turn's entering and what it reads."""

    step: Callable[[], Awaitable[object]]

    async def run_and_read(self, call: Call, reading: Sequence[Argument]) -> tuple[Any, Any]:
        answer = await self.run(*call)
        await self.step()
        return answer, await self.command(*reading)


async def test_what_others_do_to_a_session_meanwhile_is_seen(link: RedisLink, ref: SessionRef) -> None:
    """A turn that lost its lease is added, and the session dropped, just then."""
    overtaken = OvertakenLink(link)
    sessions = RedisSessions(overtaken, ttl_seconds=60, max_tokens=100)
    await sessions.append(ref, turn("t1"), SYSTEM)
    overtaken.step = lambda: sessions.append(ref, turn("late"), None)
    context = await sessions.enter(ref, "t2", 0)
    assert (context.system, context.turns) == (SYSTEM, (turn("t1"), turn("late")))
    overtaken.step = lambda: sessions.forget(ref)
    assert await sessions.enter(ref, "t2", 0) == EMPTY


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.fixed_dictionaries({"role": st.text(), "content": st.text()}, optional={"x": st.lists(st.text())}),
                max_size=3,
            ),
            st.integers(0, 10),
        ),
        max_size=6,
    ),
    st.none() | st.builds(lambda text: {"role": "system", "content": text}, st.text()),
    st.integers(0, 60),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_whatever_was_said_comes_back_as_it_was(
    io_loop: IOLoop, link: RedisLink, said: list[tuple[list[Message], int]], system: Message | None, most: int
) -> None:
    """Brackets, commas, quotes and line ends in texts; turns without messages or a size, and too many tokens."""
    sessions, ref = RedisSessions(link, ttl_seconds=60, max_tokens=most), SessionRef(uuid4().hex, "s")
    turns = [Turn(f"t{n}", tuple(messages), tokens) for n, (messages, tokens) in enumerate(said)]
    stay = turns[:]
    while len(stay) > 1 and sum(turn.tokens for turn in stay) > most:
        stay = stay[1:]

    async def kept() -> Context:
        for turn in turns:
            await sessions.append(ref, turn, system)
        return await sessions.enter(ref, "next", 0)

    context = io_loop.run_sync(kept)
    assert [*context.turns] == stay
    assert context.system == (system if turns else None)
    if isinstance(context.turns, KeptTurns):
        sizes = [turn.tokens for turn in stay]
        assert context.turns.tokens == (sum(sizes) if all(sizes) else 0)
        assert context.turns.spelled() == b",".join(msgspec.json.encode(m) for turn in stay for m in turn.messages)


STEPS = st.lists(
    st.tuples(st.just("append"), st.integers(0, 30), st.integers(0, 3))
    | st.tuples(st.just("rewind"), st.integers(0, 9)),
    max_size=12,
)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_what_is_known_of_the_turns_is_right_after_every_step(
    io_loop: IOLoop, link: RedisLink, steps: list[tuple[str, int] | tuple[str, int, int]]
) -> None:
    """Sums are kept instead of added up again: they are those of the turns that are left."""
    sessions, ref = RedisSessions(link, ttl_seconds=60, max_tokens=60, max_messages=8), SessionRef(uuid4().hex, "s")
    turns: list[Turn] = []

    async def take(number: int, step: tuple[str, int] | tuple[str, int, int]) -> None:
        nonlocal turns
        if step[0] == "append":
            _, tokens, messages = step  # type: ignore[misc]
            turns.append(turn(f"t{number}", tokens, messages))
            await sessions.append(ref, turns[-1], None)
            while len(turns) > 1 and (sum(t.tokens for t in turns) > 60 or sum(len(t.messages) for t in turns) > 8):
                turns = turns[1:]
            return
        names = [t.id for t in turns]
        name = f"t{step[1]}"
        assert await sessions.rewind(ref, name) == (name in names)
        turns = turns[: names.index(name)] if name in names else turns

    async def play() -> None:
        for number, step in enumerate(steps):
            await take(number, step)
            context = await sessions.read(ref)
            assert [*context.turns] == turns if context is not None else not turns
            content, said = session_keys(ref)
            sums = await link.command("HMGET", content, "turns", "messages", "tokens", "unsized")
            numbers = (len(turns), sum(len(t.messages) for t in turns), sum(t.tokens for t in turns))
            assert [*map(int, filter(None, sums))] == [*numbers, [t.tokens for t in turns].count(0)] or not any(sums)
            assert await link.command("LLEN", said) == len(turns)

    io_loop.run_sync(play)


@pytest.mark.parametrize("count", [1, 20])
async def test_an_answer_has_one_element_a_turn(
    sessions: RedisSessions, link: RedisLink, ref: SessionRef, count: int
) -> None:
    """Each is made into an object, at every request of the session."""
    for n in range(count):
        await sessions.append(ref, turn(f"t{n}", 1, messages=0), SYSTEM)
    (_, _, turns, lines, tokens, _), said = await link.run_and_read(
        sessions.entering(ref, "next"), sessions.reading(ref)
    )
    assert (turns, lines.count(b"\n"), tokens, said) == (count, count - 1, count, [b""] * count)


@pytest.mark.parametrize("gone", [0, 1], ids=["content", "said"])
async def test_of_a_session_that_is_half_gone_nothing_is_said(
    link: RedisLink, sessions: RedisSessions, ref: SessionRef, gone: int
) -> None:
    """One of its keys ran out a millisecond before the other, or was evicted."""
    await sessions.append(ref, turn("t1"), None)
    await link.command("DEL", session_keys(ref)[gone])
    assert await sessions.read(ref) is None
    context = await sessions.enter(ref, "t2", 1)
    assert (context.system, context.turns) == (None, ())
    await sessions.append(ref, turn("t2"), None)
    found = await sessions.read(ref)
    assert found is not None
    assert [kept.id for kept in found.turns] == ["t2"]


async def test_what_was_said_may_be_lost_and_the_instruction_is_not(
    link: RedisLink, sessions: RedisSessions, ref: SessionRef
) -> None:
    """The list was evicted alone; who enters sees what is left."""
    await sessions.append(ref, turn("t1"), SYSTEM)
    await link.command("DEL", session_keys(ref)[1])
    context = await sessions.enter(ref, "t2", 1)
    assert (context.system, context.turns) == (SYSTEM, ())


async def test_a_forgotten_session_is_gone(sessions: RedisSessions, ref: SessionRef) -> None:
    await sessions.append(ref, turn("t1"), SYSTEM)
    assert await sessions.forget(ref) is True
    assert await sessions.read(ref) is None


@pytest.mark.parametrize("other", ["principal", "session"])
async def test_sessions_do_not_see_each_other(sessions: RedisSessions, ref: SessionRef, other: str) -> None:
    """The same id of another principal, or another id: another conversation, with its own turns."""
    stranger = (
        SessionRef(ref.principal_id + "x", ref.session_id)
        if other == "principal"
        else SessionRef(ref.principal_id, "chat")
    )
    await sessions.append(ref, turn("secret"), SYSTEM)
    await sessions.enter(ref, "t1", 1)
    assert await sessions.enter(stranger, "t1", 1) == EMPTY
    assert await sessions.forget(stranger) is False


async def test_turns_enter_in_the_order_they_came(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """Twelve turns at once, each one alone inside, and each sees all that were before it."""
    await sessions.enter(ref, "first", 1)

    async def take_turn(name: str) -> list[str]:
        context = await sessions.enter(ref, name, 60)
        await sessions.append(ref, turn(name, 1, messages=0), None)
        return [t.id for t in context.turns]

    names = [f"t{n:02}" for n in range(12)]
    tasks = []
    for number, name in enumerate(names, 1):
        tasks.append(asyncio.create_task(take_turn(name)))
        await waiting(clocked, ref, number)
    await sessions.leave(ref, "first")
    assert await asyncio.gather(*tasks) == [names[:n] for n in range(12)]


async def test_a_session_that_stays_busy_says_so(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """409 with Retry-After; whoever gave up stands in nobody's way."""
    await sessions.enter(ref, "t1", 1)
    with pytest.raises(SessionBusyError) as raised:
        await sessions.enter(ref, "t2", 0)
    assert raised.value.retry_after == 1
    await waiting(clocked, ref, 0)


async def test_a_cancelled_waiter_leaves_the_queue(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    await sessions.enter(ref, "t1", 1)
    gone = asyncio.create_task(sessions.enter(ref, "t2", 60))
    await waiting(clocked, ref, 1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await waiting(clocked, ref, 0)
    await sessions.leave(ref, "t1")
    await sessions.enter(ref, "t3", 0)


class SlowLink(ClockedLink):
    """Its entering questions stay on the way until the gate opens."""

    def __init__(self, link: RedisLink) -> None:
        super().__init__(link)
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        if script.name == "enter_session":
            self.asked.set()
            await self.gate.wait()
        return await super().run(script, keys, args)


async def test_cancelled_while_entering_it_is_not_inside(link: RedisLink, ref: SessionRef) -> None:
    """The client leaves while the very question is on its way: the answer is awaited, and the session free."""
    slow = SlowLink(link)
    sessions = RedisSessions(slow, ttl_seconds=60, max_tokens=100)
    entering = asyncio.create_task(sessions.enter(ref, "t1", 1))
    await slow.asked.wait()
    entering.cancel()
    await asyncio.sleep(0)
    slow.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await sessions.enter(ref, "t2", 0)


async def test_cancelled_just_after_asking_it_is_not_inside(link: RedisLink, ref: SessionRef) -> None:
    """Over whatever connections: what takes the turn back is never overtaken by what let it in."""
    sessions = RedisSessions(link, ttl_seconds=60, max_tokens=100)
    await sessions.enter(ref, "t0", 1)
    await sessions.leave(ref, "t0")
    entering = asyncio.create_task(sessions.enter(ref, "t1", 1))
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await sessions.enter(ref, "t2", 0)


async def test_a_waiter_that_died_is_skipped(sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef) -> None:
    """Its worker was killed: after a second of silence the one behind it enters."""
    await sessions.enter(ref, "t1", 1)
    await asked(sessions, clocked, ref, "dead")
    behind = asyncio.create_task(sessions.enter(ref, "t3", 60))
    await waiting(clocked, ref, 2)
    await sessions.leave(ref, "t1")
    assert isinstance(await asked(sessions, clocked, ref, "t4"), Queued)
    await sessions.leave(ref, "t4")
    clocked.advance(1.1)
    await behind


async def test_a_waiter_that_was_skipped_keeps_its_place(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """Its worker only stood still for a while, or Redis lost the queue: first come is first served all the same."""
    await sessions.enter(ref, "t1", 1)
    place = await asked(sessions, clocked, ref, "t2")
    assert isinstance(place, Queued)
    clocked.advance(0.5)
    await asked(sessions, clocked, ref, "t3")
    await clocked.command("DEL", *queue_keys(ref))
    await asked(sessions, clocked, ref, "t3", clocked.now)
    await asked(sessions, clocked, ref, "t2", place.arrival)
    await sessions.leave(ref, "t1")
    assert isinstance(await asked(sessions, clocked, ref, "t3"), Queued)
    assert await asked(sessions, clocked, ref, "t2") == EMPTY


async def test_a_dead_holder_frees_the_session(sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef) -> None:
    """A lease that nobody renews ends after six seconds; a renewed one does not."""
    await sessions.enter(ref, "t1", 1)
    clocked.advance(5)
    await sessions.renew([(ref, "t1")])
    clocked.advance(5)
    with pytest.raises(SessionBusyError):
        await sessions.enter(ref, "t2", 0)
    clocked.advance(1)
    await sessions.enter(ref, "t2", 0)


async def test_who_lost_the_lease_still_keeps_what_was_said(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """And does not put the turn out that is inside now, nor renew itself in again."""
    await sessions.enter(ref, "slow", 1)
    clocked.advance(6)
    await sessions.enter(ref, "t2", 0)
    await sessions.renew([(ref, "slow")])
    await sessions.append(ref, turn("slow"), None)
    with pytest.raises(SessionBusyError):
        await sessions.enter(ref, "t3", 0)
    context = await sessions.read(ref)
    assert context is not None
    assert context.turns == (turn("slow"),)


async def test_a_lease_that_ran_out_unnoticed_is_renewed(
    sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef
) -> None:
    """Redis stood still for longer than the lease, and nobody else entered: the turn is still inside."""
    await sessions.enter(ref, "t1", 1)
    clocked.advance(60)
    await sessions.renew([(ref, "t1")])
    with pytest.raises(SessionBusyError):
        await sessions.enter(ref, "t2", 0)


@pytest.mark.parametrize("end", ["leave", "append"])
async def test_a_late_renewal_does_not_revive_an_ended_turn(sessions: RedisSessions, ref: SessionRef, end: str) -> None:
    await sessions.enter(ref, "t1", 1)
    if end == "leave":
        await sessions.leave(ref, "t1")
    else:
        await sessions.append(ref, turn("t1"), None)
    await sessions.renew([(ref, "t1")])
    await sessions.enter(ref, "t2", 0)


async def test_a_turn_may_come_again(sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef) -> None:
    """Entering twice is entering once, and after leaving the same turn may enter and renew again."""
    for _ in range(2):
        await sessions.enter(ref, "t1", 0)
    await sessions.leave(ref, "t1")
    await sessions.enter(ref, "t1", 0)
    for _ in range(3):
        clocked.advance(5)
        await sessions.renew([(ref, "t1")])
    with pytest.raises(SessionBusyError):
        await sessions.enter(ref, "t2", 0)


async def test_a_queue_is_bounded(sessions: RedisSessions, clocked: ClockedLink, ref: SessionRef) -> None:
    """A client in a loop is refused at once; the dead do not fill the queue."""
    await sessions.enter(ref, "t1", 1)
    for n in range(MAX_WAITING):
        await asked(sessions, clocked, ref, f"w{n}")
    with pytest.raises(SessionBusyError):
        await sessions.enter(ref, "one-more", 60)
    clocked.advance(2)
    assert await asked(sessions, clocked, ref, "one-more") != NO_PLACE


async def test_locks_and_queues_do_not_stay_for_ever(sessions: RedisSessions, link: RedisLink, ref: SessionRef) -> None:
    await sessions.enter(ref, "t1", 1)
    await asked(sessions, link, ref, "t2")
    await sessions.append(ref, turn("t1"), SYSTEM)
    keys = await link.command("KEYS", f"sp:{{{ref.principal_id}}}:*")
    assert len(keys) == 5
    assert all([await link.command("PTTL", key) > 0 for key in keys])
