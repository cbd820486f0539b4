"""What the admin API steers, beside the services that everybody uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamproxy.domain.ports import CredentialStore, UsageReport, UserStore
from streamproxy.services.directory import StreamDirectory


@dataclass(frozen=True, slots=True)
class Administration:
    """*bearer_days* is how long a bearer lives unless the admin says otherwise; *clock* gives epoch seconds."""

    users: UserStore
    credentials: CredentialStore
    usage: UsageReport
    streams: StreamDirectory
    bearer_days: float
    clock: Callable[[], float]
