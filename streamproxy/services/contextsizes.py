"""What the contexts of sessions come to, as far as this worker has seen: a guess, so that it can be reserved at once.

How large a context is shows only when it is loaded, in the same step that reserves. Where the guess was too small,
or the session's last turn ran on another worker, the rest is reserved after it.
"""

from __future__ import annotations

from streamproxy.domain.sessions import SessionRef

# Sessions that are remembered; the one that was settled longest ago is forgotten first.
MOST_SESSIONS = 10_000


class ContextSizes(dict[SessionRef, int]):
    """What each session's context came to, in tokens, after its last turn; 0 where nobody knows."""

    def __missing__(self, session: SessionRef) -> int:
        return 0

    def note(self, session: SessionRef, tokens: int) -> None:
        """A turn has ended, and behind it the context comes to *tokens*."""
        self.pop(session, None)
        self[session] = tokens
        if len(self) > MOST_SESSIONS:
            del self[next(iter(self))]
