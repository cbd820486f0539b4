"""Counting against limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamproxy.domain.limits import Ask, Decision, Reservation


class LimitStore(Protocol):
    """Counts against limits. One ask is one atomic step over all limits, all or nothing."""

    async def reserve(self, ask: Ask) -> Decision:
        """Take one request, *ask.tokens* tokens and a running place, or nothing at all.

        The reservation's ``ask.tokens`` are those and, where the store took them, *ask.spare*: the standings of the ask
        that took them know only of the former. A store may leave what is to spare to ``extend``.

        Asking twice with one request id takes once and answers the same.
        """

    async def extend(self, reservation: Reservation, tokens: int, *, spare: bool = False) -> Reservation | None:
        """Take *tokens* more for a running answer; None when the windows have no room for them.

        *spare*: only where half of every token window stays free with them.
        """

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """The stream ended and really used *tokens*: correct the token windows, free its place."""

    async def refund(self, reservation: Reservation) -> None:
        """Nothing was delivered: give back request, tokens and place."""

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """Prolong the running places of these; a place not renewed for its lease is free again."""
