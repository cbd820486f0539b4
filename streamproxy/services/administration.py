"""What the admin API steers, beside the services that everybody uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamproxy.domain.ports import CredentialStore, UsageReport, UserStore
from streamproxy.services.directory import StreamDirectory
from streamproxy.services.keyring import Keyring


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The limits of each user, as settings spell them: empty text and 0 mean none."""

    requests: str
    tokens: str
    streams: int
    timezone: str
    on_redis_down: str


@dataclass(frozen=True, slots=True)
class Administration:
    """*keyring* opens one for a request: whether the shared store could be reached is a matter of that request.

    *bearer_days* is how long a bearer lives unless the admin says otherwise; *clock* gives epoch seconds.
    """

    users: UserStore
    credentials: CredentialStore
    usage: UsageReport
    streams: StreamDirectory
    keyring: Callable[[], Keyring]
    limits: LimitsInForce
    bearer_days: float
    clock: Callable[[], float]
