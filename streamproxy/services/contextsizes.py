"""What the contexts of sessions come to, as far as this worker has seen: a guess, so that it can be reserved at once.

How large a context is shows only when it is loaded, in the same step that reserves. Where the guess was too small,
or the session's last turn ran on another worker, the rest is reserved after it.
"""

from __future__ import annotations

from streamproxy.domain.sessions import SessionRef

# Sessions that are remembered; the one that was settled longest ago is forgotten first.
MOST_SESSIONS = 10_000


class ContextSizes:
    """Tokens by session."""

    def __init__(self) -> None:
        self._sizes: dict[SessionRef, int] = {}

    def expected(self, session: SessionRef) -> int:
        """What the context came to after its last turn, 0 where nobody knows."""
        return self._sizes.get(session, 0)

    def note(self, session: SessionRef, tokens: int) -> None:
        """A turn has ended, and behind it the context comes to *tokens*."""
        self._sizes.pop(session, None)
        self._sizes[session] = tokens
        if len(self._sizes) > MOST_SESSIONS:
            del self._sizes[next(iter(self._sizes))]
