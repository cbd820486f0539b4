"""A caller's own provider key: used for one call, outside the pool, never stored and never logged.

Nothing that happens to it is remembered: it has no state, no cool-down and no other key stands in for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamproxy.domain.keypool import Candidate, Key, Verdict
from streamproxy.errors import AuthenticationError, RateLimitError, StreamProxyError

# Stands in usage rows for every key that a caller brought.
OWN_KEY_ID = "own"


@dataclass(frozen=True, slots=True)
class OwnLease:
    """Holds nothing, so that giving it back changes nothing."""

    candidate: Candidate

    def accepted(self) -> None:
        """The upstream answers by this key: nobody's business either."""

    async def give_back(
        self, verdict: Verdict | None = None, *, error: str = "", tokens: int = 0, sent: bool = True
    ) -> None:
        """The call is over; what it showed about the key is nobody's business."""


def own_lease(offered: Sequence[Candidate], secret: str) -> OwnLease:
    """The caller's key *secret* at the upstream of *offered* that is asked first."""
    first = min(offered, key=lambda candidate: candidate.upstream.priority)
    return OwnLease(Candidate(first.upstream, Key(OWN_KEY_ID, secret), first.model))


def own_error(error: StreamProxyError) -> StreamProxyError:
    """*error* as the owner of the key is told it: what is wrong with the key is theirs to mend."""
    if error.code == "upstream_key_refused":
        return AuthenticationError("The provider does not accept this key.")
    if error.code == "upstream_quota":
        return RateLimitError("The provider says that this key is out of quota.", code="insufficient_quota")
    return error
