"""What a worker is told before it opens anything."""

from __future__ import annotations

from dataclasses import dataclass

from streamproxy.connections.crowd import Seat
from streamproxy.settings import Settings
from streamproxy.tokenizer import Tokenizer

# After drain_seconds the streams that still run are told so; this long they have to write their ending.
ENDING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Start:
    """What the supervisor decided for a worker before it was started. *redis_url* and *secret* are secrets.

    *seat* is its place among the workers that accept from one socket, None where each has its own.
    """

    settings: Settings
    secret: bytes
    redis_url: str
    tokenizer: Tokenizer
    worker: int = 0
    seat: Seat | None = None
