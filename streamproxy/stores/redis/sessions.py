"""Sessions in Redis: the context of a conversation and the order of its turns.

A turn enters when all that came before it have ended, whatever worker they run on; its place is a lease, so
a killed worker frees it within seconds, and a waiter that died is skipped within about one. Only a finished
turn renews a session's life. A Redis that lost its data starts the conversation anew; two turns may then be
inside at once, and both are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec

from streamproxy.domain.sessions import EMPTY, NO_PLACE, Context, KeptTurns, Message, Place, Queued, SessionRef, Turn
from streamproxy.errors import SessionBusyError, StoreUnavailableError
from streamproxy.stores.redis import lock_key, queue_keys, said_key, session_keys, turn_keys
from streamproxy.stores.redis.connect import Argument, Call, RedisLink
from streamproxy.stores.redis.scripts import load_script

MICROSECONDS = 1_000_000
# A waiting turn asks every 10 ms at first, every 100 ms later; one that was silent for a second is dead.
FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH = 0.010, 0.100, 1.5
PATIENCE = 1 * MICROSECONDS
# More waiting turns than this in one session are a client's error in a loop.
MAX_WAITING = 32
# How long the lock and the queue outlive their last use.
IDLE_MILLISECONDS = 60_000
_INSIDE, _FULL = 1, -1


class RedisSessions:
    """Fills SessionStore. A session keeps its newest turns up to *max_tokens* and *max_messages*."""

    def __init__(
        self,
        link: RedisLink,
        *,
        ttl_seconds: float,
        max_tokens: int,
        max_messages: int = 200,
        lease_seconds: float = 6.0,
    ) -> None:
        self._link = link
        self._ttl = round(ttl_seconds * 1000)
        self._max_tokens = max_tokens
        self._max_messages = max_messages
        self._lease = round(lease_seconds * MICROSECONDS)
        self._enter = load_script("enter_session")
        self._leave = load_script("leave_session")
        self._append = load_script("append_turn")
        self._read = load_script("read_session")
        self._renew = load_script("renew_turn")
        self._rewind = load_script("rewind_session")

    async def enter(self, ref: SessionRef, turn_id: str, wait_seconds: float, *, place: Queued = NO_PLACE) -> Context:
        """Wait for this turn's place, first come first served, and load the context.

        *place* is where it has been waiting already. SessionBusyError when earlier turns take longer than
        *wait_seconds*. On every way out but the good one, cancellation included, the turn has left the queue.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + wait_seconds, FIRST_PAUSE
        try:
            while True:
                call = self.entering(ref, turn_id, place)
                # Mostly a turn is inside at once. While it is not, what was said is not asked for again and again.
                if place is NO_PLACE:
                    step = self._link.run_and_read(call, self.reading(ref))
                    found = await self.place(ref, *await self._link.through(step))
                else:
                    found = await self.place_unread(ref, await self._link.through(self._link.run(*call)))
                if isinstance(found, Context):
                    return found
                left = deadline - loop.time()
                if found.arrival == 0 or left <= 0:
                    raise SessionBusyError("Another turn of this session is still running.", retry_after=1)
                place = found
                await asyncio.sleep(min(pause, left))
                pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        except BaseException:
            await asyncio.shield(self._withdraw(ref, turn_id))
            raise

    def entering(self, ref: SessionRef, turn_id: str, place: Queued = NO_PLACE) -> Call:
        """The question whether this turn may enter; ``place`` reads its answer and that of ``reading``."""
        args = (turn_id, place.arrival, self._lease, PATIENCE, MAX_WAITING, IDLE_MILLISECONDS)
        return self._enter, turn_keys(ref)[:-1], args

    @staticmethod
    def reading(ref: SessionRef) -> tuple[Argument, ...]:
        """What was said in the session, by a plain command: see ``context.lua``."""
        return "LRANGE", said_key(ref), 0, -1

    async def place(self, ref: SessionRef, answer: Sequence[Any], said: Sequence[bytes]) -> Place:
        """Inside, with the context, or in the queue; ``NO_PLACE`` when that is full."""
        if answer[0] == _INSIDE:
            # A turn whose lease had run out may have been added, or the session dropped, between the two answers.
            return _context(answer, said) or await self.read(ref) or EMPTY
        return NO_PLACE if answer[0] == _FULL else Queued(answer[1])

    async def place_unread(self, ref: SessionRef, answer: Sequence[Any]) -> Place:
        """As ``place``, where what was said was not read with the answer: now it is, if the turn is inside."""
        return await self.place(
            ref, answer, await self._link.command(*self.reading(ref)) if answer[0] == _INSIDE else ()
        )

    async def _withdraw(self, ref: SessionRef, turn_id: str) -> None:
        with contextlib.suppress(StoreUnavailableError):
            await self.leave(ref, turn_id)

    async def append(self, ref: SessionRef, turn: Turn, system: Message | None) -> None:
        """Add the turn, renew the time to live and let the next turn in. Once per ``turn.id``.

        *system* replaces the session's system message; None keeps it.
        """
        await self._link.run(*self.appending(ref, turn, system))

    def appending(self, ref: SessionRef, turn: Turn, system: Message | None) -> Call:
        """The step of ``append``."""
        messages = msgspec.json.encode(turn.messages)[1:-1]
        instruction = b"" if system is None else msgspec.json.encode(system)
        sizes = (turn.tokens, len(turn.messages))
        bounds = (self._max_tokens, self._max_messages, self._ttl, IDLE_MILLISECONDS)
        *lock_and_queue, content, said = turn_keys(ref)
        return self._append, (content, said, *lock_and_queue), (turn.id, messages, *sizes, instruction, *bounds)

    async def leave(self, ref: SessionRef, turn_id: str) -> None:
        """The turn produced nothing, or waits no longer: let the next one in, leave no trace."""
        keys = (lock_key(ref), *queue_keys(ref))
        await self._link.run(self._leave, keys, (turn_id, IDLE_MILLISECONDS))

    async def renew(self, held: Sequence[tuple[SessionRef, str]]) -> None:
        """Prolong these places (session, turn id) in one round trip."""
        await self._link.run_many(
            [(self._renew, (lock_key(ref),), (turn_id, self._lease, IDLE_MILLISECONDS)) for ref, turn_id in held]
        )

    async def read(self, ref: SessionRef) -> Context | None:
        """The context as it stands; None when there is none. Reading does not renew its life."""
        *answer, said = await self._link.run(self._read, session_keys(ref), ())
        context = _context(answer, said)
        return context if context is not None and (context.turns or context.system) else None

    async def rewind(self, ref: SessionRef, turn_id: str) -> bool:
        """Drop this turn and those after it; False when the context has no such turn."""
        return bool(await self._link.run(self._rewind, session_keys(ref), (turn_id,)))

    async def forget(self, ref: SessionRef) -> bool:
        """Drop the context; False when there was none. A turn that is running starts it anew when it ends."""
        return bool(await self._link.command("DEL", *session_keys(ref)))


def _context(answer: Sequence[Any], said: Sequence[bytes]) -> Context | None:
    """What ``context.lua`` answers, and what was said; None when they do not belong together.

    The turns are not read: a session of fifty costs a request hardly more than one.
    """
    _, expiry, turns, lines, tokens, system = answer
    if turns and len(said) != turns:
        return None
    return Context(
        None if system is None else msgspec.json.decode(system),
        KeptTurns(lines, tokens, said) if turns else (),
        expiry / MICROSECONDS,
    )
