"""What one turn of the loop has written, sent at its end: one ``send`` a connection, one behind the other.

Why: a ``send`` that finds the receiver asleep has to wake it, which on loopback costs as much as the ``send`` itself.
Reads and writes that take turns find it asleep nearly every time; writes in a row wake it once. And an answer whose
head, events and end come in one turn is one packet.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

log = logging.getLogger(__name__)


class Sender(Protocol):
    """Keeps what it was told to write until it is sent."""

    closed: bool
    # Of this turn of the loop.
    outgoing: bytes
    # Bytes that the transport has been given.
    handed: int
    transport: asyncio.Transport


def send(sender: Sender) -> None:
    """What *sender* has kept, to its transport."""
    data, sender.outgoing = sender.outgoing, b""
    if data and not sender.closed:
        sender.handed += len(data)
        sender.transport.write(data)


class Outbox:
    """Who has something to send in this turn of *loop*: it is sent at its end.

    ``add`` the first of them to ``senders``; any further one may be appended, which is a step less.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.senders: list[Sender] = []
        self._loop = loop

    def add(self, sender: Sender) -> None:
        """What *sender* keeps is sent at the end of the turn."""
        if not self.senders:
            self._loop.call_soon(self._send_all)
        self.senders.append(sender)

    def _send_all(self) -> None:
        senders, self.senders = self.senders, []
        for sender in senders:
            try:
                # ``send``, without a call for each event.
                data, sender.outgoing = sender.outgoing, b""
                if data and not sender.closed:
                    sender.handed += len(data)
                    sender.transport.write(data)
            except Exception:
                # The others are not to wait for ever for what one of them met.
                log.exception("an answer could not be sent on")
