"""How a key's status changes: pure rules, from the status as it stands to the status as it will.

The shared store applies a rule to what it holds and keeps the outcome, whoever was first. So each rule must
bear what others have found meanwhile: bad news only ever makes a status worse, and news from a request that
left before the status changed is old news.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from streamproxy.domain.keypool import HEALTHY, KeyState, KeyStatus, Verdict
from streamproxy.redaction import redact

Rule: TypeAlias = Callable[[KeyStatus], KeyStatus]

# A key whose upstream fails so often in a row cools down: Envoy's consecutive_5xx, by the same reasoning.
# https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
FAILURES_IN_A_ROW = 5
LONGEST_WORDS = 300
# Providers choose their codes: one that is none is not kept.
UNREADABLE = "unreadable_code"
_CODE = re.compile(r"[a-z_]{1,40}")
_KEY_LIKE = re.compile(r"(?=[A-Za-z_+=*.~-]*\d)[A-Za-z0-9_+=*.~-]{12,}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_GRAVITY = {KeyState.HEALTHY: 0, KeyState.COOLING: 1, KeyState.PARKED: 2, KeyState.DISABLED: 3}


@dataclass(frozen=True, slots=True)
class Tally:
    """What a key was used for, over all workers. *last_error* is a code of ours, *at* its epoch second."""

    requests: int = 0
    errors: int = 0
    last_error: str = ""
    at: float = 0.0

    def __add__(self, more: Tally) -> Tally:
        last = more if more.last_error else self
        return Tally(self.requests + more.requests, self.errors + more.errors, last.last_error, last.at)


def found(verdict: Verdict, *, began: float, now: float) -> Rule:
    """A provider's answer to a request that left at *began* says how the key stands."""
    news = _status(verdict, now)

    def rule(old: KeyStatus) -> KeyStatus:
        if _brought_back(old, began):
            return old
        grave, graver = _GRAVITY[old.standing(now)], _GRAVITY[news.state]
        if graver < grave:
            return old
        if graver == grave and (old.state is KeyState.DISABLED or news.until <= old.until):
            return old
        return replace(news, setbacks=old.setbacks)

    return rule


def failing(reason: str, *, began: float, now: float, pause: Callable[[int], float]) -> Rule:
    """The upstream has failed too often in a row; *pause* gives the seconds to wait by the number of setbacks."""

    def rule(old: KeyStatus) -> KeyStatus:
        if old.changed > began or not old.healthy(now):
            return old
        return KeyStatus(
            KeyState.COOLING, now + pause(old.setbacks), reason, changed=now, setbacks=min(old.setbacks + 1, 32)
        )

    return rule


def answered(now: float) -> Rule:
    """The key got a good answer: what it had to wait for is over."""

    def rule(old: KeyStatus) -> KeyStatus:
        return replace(HEALTHY, changed=old.changed) if old.healthy(now) else old

    return rule


def enabled(*, now: float) -> Rule:
    """A person says that the key works."""
    return lambda _old: replace(HEALTHY, changed=now)


def restored(seen: KeyStatus, *, now: float) -> Rule:
    """A probe succeeded that was made because of *seen*: nothing is restored that changed meanwhile."""
    return lambda old: replace(HEALTHY, changed=now) if old == seen and old.state is not KeyState.HEALTHY else old


def still(seen: KeyStatus, verdict: Verdict | None, *, now: float, wait: float) -> Rule:
    """A probe failed: the state stays (or is the graver one of *verdict*), and the next probe is due in *wait*."""

    def rule(old: KeyStatus) -> KeyStatus:
        if old != seen:
            return old
        if verdict is not None and _GRAVITY[verdict.state] > _GRAVITY[old.state]:
            return replace(_status(verdict, now), setbacks=old.setbacks)
        return replace(old, until=max(old.until, now + wait)) if old.state is KeyState.PARKED else old

    return rule


def merged(mine: KeyStatus) -> Rule:
    """What a worker knows meets what the store knows: the later of the two holds."""
    return lambda old: mine if mine.changed > old.changed else old


def kept_words(message: str) -> str:
    """What a provider said about a key, for whoever looks after it: nothing secret, no control character, not long.

    A word with a digit in it that is as long as a key is taken for one, whatever it looks like.
    """
    return _CONTROLS.sub(" ", _KEY_LIKE.sub("***", redact(message)))[:LONGEST_WORDS]


def _status(verdict: Verdict, now: float) -> KeyStatus:
    until = 0.0 if verdict.seconds is None else now + verdict.seconds
    reason = verdict.reason if _CODE.fullmatch(verdict.reason) else UNREADABLE
    return KeyStatus(verdict.state, until, reason, kept_words(verdict.message), now)


def _brought_back(status: KeyStatus, began: float) -> bool:
    return status.state is KeyState.HEALTHY and status.changed > began
