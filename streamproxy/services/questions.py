"""Who asks at /message, and the number of questions they have left.

A question is reserved before the call and used up by its answer; whatever ends otherwise gives it back. A
worker that is killed in between gives it back too, a little later. Accounts without a number (NULL, the
default of ``user add``) are not limited: 0 would lock out everyone whom nobody ever gave a number.
When SQL does not answer there are no questions (StoreUnavailableError): uncounted ones cost money.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from streamproxy.domain.identity import Principal
from streamproxy.domain.ports import QuestionStore, UserStore
from streamproxy.errors import AuthenticationError, QuotaError, StoreUnavailableError

log = logging.getLogger(__name__)

# What an account without a number is told: callers compare it with 0, so it must be a number, and this is
# the largest that an account can have.
ANY_NUMBER = 2**31 - 1
# Nobody knows when somebody grants more; a client that obeys asks again in an hour.
USED_UP_SECONDS = 3600.0


@dataclass(slots=True)
class Question:
    """One question that is being answered."""

    principal: Principal
    request_id: str
    store: QuestionStore
    is_answered: bool = False

    async def answered(self) -> int:
        """Use it up; how many are left after it."""
        left = await self.store.settle(self.principal.id, self.request_id)
        self.is_answered = True
        return ANY_NUMBER if left is None else left


class Questions:
    """*hold_seconds* is how long a question may take; *clock* gives epoch seconds."""

    def __init__(
        self, users: UserStore, store: QuestionStore, *, hold_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._users = users
        self._store = store
        self._hold_seconds = hold_seconds
        self._clock = clock

    async def asker(self, openid: str, *, claimed_by: Principal | None) -> Principal:
        """The principal whose *openid* this is.

        With *claimed_by*, who sent a credential, it must be theirs; with None the openid is believed. The same
        AuthenticationError for one that is nobody's, another's or a disabled user's.
        """
        user = await self._users.by_openid(openid)
        if user is not None and not user.disabled:
            if claimed_by is None:
                return Principal(user.id, user.name, user.role, "openid", user.id)
            if claimed_by.id == user.id:
                return claimed_by
        raise AuthenticationError("This openid is not the caller's.", code="wrong_openid")

    @asynccontextmanager
    async def reserved(self, principal: Principal, request_id: str) -> AsyncIterator[Question]:
        """Hold one question of *principal* while it is being answered. QuotaError when none is left."""
        now = self._clock()
        if not await self._store.reserve(principal.id, request_id, now=now, until=now + self._hold_seconds):
            raise QuotaError("No questions are left.", code="questions_used_up", retry_after=USED_UP_SECONDS)
        question = Question(principal, request_id, self._store)
        try:
            yield question
        finally:
            if not question.is_answered:
                await self._give_back(request_id)

    async def _give_back(self, request_id: str) -> None:
        try:
            await self._store.refund(request_id)
        except StoreUnavailableError:
            log.warning("a question is not given back at once: SQL is away; it comes back by itself")
