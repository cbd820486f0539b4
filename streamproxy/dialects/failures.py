"""What failures mean: a dialect's table of rules, and what follows from each meaning.

An upstream's own words never reach the client, with one exception: what it says about the caller's
request, cleaned of anything that looks like a credential.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TypeAlias

from streamproxy.dialects.base import Failure
from streamproxy.dialects.retryafter import retry_after
from streamproxy.dialects.words import Words, read_words
from streamproxy.domain.keypool import KeyState, Verdict
from streamproxy.errors import RateLimitError, UpstreamError, UpstreamKeyError, UpstreamRejectedError
from streamproxy.redaction import redact

# Where the provider names no time: long enough to let a burst pass, short enough to lose little.
COOL_DOWN = 5.0
SHORTEST_COOL_DOWN = 1.0
PARKED = 3600.0
LONGEST_MESSAGE = 1000

Headers: TypeAlias = Mapping[str, str]


class Meaning(StrEnum):
    """What a failure is about, and what is done."""

    KEY_DEAD = auto()  # the key is disabled, another one answers
    KEY_UNFIT = auto()  # the key may not do this; another one may
    NO_MONEY = auto()  # the key is parked, another one answers
    TOO_MANY = auto()  # the key cools, another one answers
    OVERLOADED = auto()  # as TOO_MANY, but it is not we who are too many
    BROKEN = auto()  # the upstream failed; another key may do. It cools where the upstream names a time
    CALLERS_FAULT = auto()  # passed on; no other key can help
    OURS = auto()  # we called something that is not there: settings are wrong


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table: a status of *statuses* and an error code or type of *words*; empty means any."""

    meaning: Meaning
    statuses: Collection[int] = ()
    words: Collection[str] = ()

    def matches(self, status: int, words: Words) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        return not self.words or words.code in self.words or words.type in self.words


def classify(rules: Sequence[Rule], status: int, headers: Headers, body: bytes) -> Failure:
    """The failure that the first matching one of *rules* makes of an answer; the last rule must match anything."""
    words = read_words(body)
    if status == 200 and words.status:
        status = words.status
    meaning = next(rule.meaning for rule in rules if rule.matches(status, words))
    return _CONSEQUENCES[meaning](status, headers, words)


def _key_dead(_status: int, _headers: Headers, words: Words) -> Failure:
    error = UpstreamKeyError("the upstream does not accept our key", explained=bool(words.message))
    verdict = Verdict(KeyState.DISABLED, None, words.code or "invalid_api_key", _said(words))
    return Failure(error, verdict, another_key=True)


def _key_unfit(_status: int, _headers: Headers, words: Words) -> Failure:
    error = UpstreamKeyError("the upstream does not accept our key", explained=bool(words.message))
    return Failure(error, another_key=True)


def _no_money(_status: int, _headers: Headers, words: Words) -> Failure:
    error = UpstreamKeyError(
        "the upstream account is out of quota", code="upstream_quota", explained=bool(words.message)
    )
    return Failure(error, Verdict(KeyState.PARKED, PARKED, "insufficient_quota", _said(words)), another_key=True)


def _too_many(_status: int, headers: Headers, _words: Words) -> Failure:
    wait = _pause(headers)
    error = RateLimitError("the upstream is rate limiting us", code="upstream_rate_limited", retry_after=wait)
    return Failure(error, Verdict(KeyState.COOLING, wait, "upstream_rate_limited"), another_key=True)


def _overloaded(_status: int, headers: Headers, _words: Words) -> Failure:
    wait = _pause(headers)
    error = UpstreamError("the upstream is overloaded", code="upstream_overloaded", retry_after=wait)
    return Failure(error, Verdict(KeyState.COOLING, wait, "upstream_overloaded"), another_key=True)


def _broken(status: int, headers: Headers, _words: Words) -> Failure:
    wait = _wait(headers)
    code = "upstream_overloaded" if status == 503 else "upstream_error"
    error = UpstreamError("the upstream failed to answer", code=code, retry_after=wait)
    return Failure(error, Verdict(KeyState.COOLING, wait, code) if wait else None, another_key=True)


def _callers_fault(status: int, _headers: Headers, words: Words) -> Failure:
    said = _said(words) or "the upstream refuses this request"
    # An error inside a 200, or one that a gateway dressed as its own.
    honest = status if 400 <= status < 500 else 400
    return Failure(UpstreamRejectedError(said, status=honest, code=words.code or None, param=words.param))


def _ours(status: int, _headers: Headers, _words: Words) -> Failure:
    return Failure(UpstreamError(f"the upstream answered with status {status}", code="upstream_rejected"))


def _said(words: Words) -> str:
    """The upstream's words, cleaned of anything that looks like a credential."""
    return redact(words.message)[:LONGEST_MESSAGE]


def _wait(headers: Headers) -> float | None:
    """Seconds that the upstream asks us to wait, None when it does not say."""
    return retry_after(headers.get("Retry-After"), headers.get("Date"))


def _pause(headers: Headers) -> float:
    """Seconds that the key cools: also where the upstream does not say, or says none."""
    wait = _wait(headers)
    return COOL_DOWN if wait is None else max(wait, SHORTEST_COOL_DOWN)


_CONSEQUENCES: Mapping[Meaning, Callable[[int, Headers, Words], Failure]] = {
    Meaning.KEY_DEAD: _key_dead,
    Meaning.KEY_UNFIT: _key_unfit,
    Meaning.NO_MONEY: _no_money,
    Meaning.TOO_MANY: _too_many,
    Meaning.OVERLOADED: _overloaded,
    Meaning.BROKEN: _broken,
    Meaning.CALLERS_FAULT: _callers_fault,
    Meaning.OURS: _ours,
}
