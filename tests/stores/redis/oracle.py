"""What the limits should say, by their definition, without any cleverness: every admission is kept for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamproxy.domain.limits import LimitPolicy, Window

SECOND = 1_000_000


@dataclass(eq=False)
class Entry:
    """One admitted request: when, and its tokens with the times they were taken. Two of one moment are two."""

    at: int
    tokens: list[tuple[int, int]] = field(default_factory=list)


class Oracle:
    """Sliding windows of requests and tokens for one scope. Times are integer microseconds."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def room(self, policy: LimitPolicy, now: int, tokens: int, *, request: bool = True) -> bool:
        asked = list(policy.requests) if request else []
        return all(self._requests(w, now) < w.count for w in asked if isinstance(w, Window)) and all(
            self._tokens(w, now) + tokens <= w.count for w in policy.tokens if isinstance(w, Window)
        )

    def remaining(self, policy: LimitPolicy, now: int) -> list[int]:
        requests = [w.count - self._requests(w, now) for w in policy.requests if isinstance(w, Window)]
        tokens = [w.count - self._tokens(w, now) for w in policy.tokens if isinstance(w, Window)]
        return [max(0, left) for left in requests + tokens]

    def take(self, now: int, tokens: int) -> Entry:
        entry = Entry(now, [(now, tokens)])
        self.entries.append(entry)
        return entry

    @staticmethod
    def extend(entry: Entry, now: int, tokens: int) -> None:
        entry.tokens.append((now, tokens))

    @staticmethod
    def settle(entry: Entry, tokens: int) -> None:
        difference = tokens - sum(n for _, n in entry.tokens)
        for index, (at, taken) in reversed(list(enumerate(entry.tokens))):
            step = max(difference, -taken)
            entry.tokens[index] = (at, taken + step)
            difference -= step

    def refund(self, entry: Entry) -> None:
        self.entries.remove(entry)

    def _requests(self, window: Window, now: int) -> int:
        return sum(1 for entry in self.entries if entry.at > now - window.seconds * SECOND)

    def _tokens(self, window: Window, now: int) -> int:
        """A bucket counts while any part of it lies inside the window."""
        width = max(SECOND, -(-window.seconds * SECOND // 60))
        taken = [part for entry in self.entries for part in entry.tokens]
        return sum(n for at, n in taken if (at // width + 1) * width > now - window.seconds * SECOND)
