"""Tickets: what lets an ``EventSource``, which sends no header, read one stream.

A ticket is a capability for a single stream, read only, never a login. It has to be used within a minute; once it
was, it is good for that stream's reconnects until the stream is no longer held.
"""

from __future__ import annotations

from collections.abc import Callable

from streamproxy.domain.ports import StreamLog, UserStore
from streamproxy.errors import NotFoundError
from streamproxy.services.bearers import Bearers, ExpiredBearerError, InvalidBearerError, Kind

FIRST_USE_SECONDS = 60.0


class Tickets:
    """Issues and checks tickets. *life_seconds* covers generation and replay; *clock* gives epoch seconds."""

    def __init__(
        self,
        bearers: Bearers,
        *,
        store: StreamLog,
        users: UserStore,
        life_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._bearers = bearers
        self._store = store
        self._users = users
        self._life = life_seconds
        self._clock = clock

    def issue(self, stream_id: str) -> str:
        """A ticket for this stream."""
        return self._bearers.sign(Kind.TICKET, stream_id, seconds=self._life)[0]

    async def owner(self, text: str, stream_id: str) -> str:
        """The user whose stream it is, when *text* is a good ticket for it and they may still sign in.

        NotFoundError otherwise, the same as for a stream that does not exist.
        """
        unknown = _unknown()
        try:
            ticket = self._bearers.read(text)
        except (InvalidBearerError, ExpiredBearerError):
            raise unknown from None
        if ticket.kind is not Kind.TICKET or ticket.subject != stream_id:
            raise unknown
        fresh = self._clock() < ticket.expires - self._life + FIRST_USE_SECONDS
        if not await self._store.use_ticket(stream_id, ticket.jti, fresh=fresh):
            raise unknown
        head = await self._store.head(stream_id)
        if head is None:
            raise unknown
        await self.check(head.user_id)
        return head.user_id

    async def check(self, user_id: str) -> None:
        """NotFoundError when this user may no longer sign in. Guests have no row, and may."""
        user = await self._users.by_id(user_id)
        if user is not None and user.disabled:
            raise _unknown()


def _unknown() -> NotFoundError:
    return NotFoundError("No such stream.", code="stream_not_found")
