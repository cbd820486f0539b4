"""The dialect of OpenAI and of everything that calls itself OpenAI-compatible.

What each failure means stands in one table. An upstream's own words never reach the client, with one
exception: what it says about the caller's request (400, 404, 413, 422), cleaned of anything that
looks like a credential. https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamproxy.dialects.base import Call, Failure
from streamproxy.dialects.retryafter import retry_after
from streamproxy.domain.keypool import KeyState, Verdict
from streamproxy.errors import RateLimitError, StreamProxyError, UpstreamError, UpstreamRejectedError
from streamproxy.log import redact
from streamproxy.wire.chat import ChatRequest, Message, encode_request

_DEAD_KEY = frozenset({"invalid_api_key", "account_deactivated", "account_terminated"})
_NO_MONEY = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
_CALLERS_FAULT = frozenset({400, 404, 405, 413, 415, 422})
# Where the provider names no time: long enough to let a burst pass, short enough to lose little.
COOL_DOWN = 5.0
PARKED = 3600.0
LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class _Words:
    """The error object of an answer, as far as it could be read."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None


class OpenAIDialect:
    """Requests as they are, errors by status and code."""

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        body = encode_request(request, model=model, messages=messages, ask_usage=True)
        accept = "text/event-stream" if request.stream else "application/json"
        return Call("/chat/completions", _headers(secret, accept), body)

    def models(self, *, secret: str) -> Call:
        return Call("/models", _headers(secret, "application/json"), None)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        words = _words(body)
        if status in {401, 403} or words.code in _DEAD_KEY:
            return self._key_refused(status, words)
        if status == 429 or words.code in _NO_MONEY or words.code == "rate_limit_exceeded":
            return self._too_many(headers, words)
        if status in _CALLERS_FAULT:
            return Failure(_rejected(status, words))
        if status == 200 and words.type == "invalid_request_error":
            return Failure(_rejected(400, words))
        if 300 <= status < 500:
            return Failure(UpstreamError(f"the upstream answered with status {status}", code="upstream_rejected"))
        return self._broken(status, headers)

    @staticmethod
    def _key_refused(status: int, words: _Words) -> Failure:
        error = UpstreamError("the upstream does not accept our key", code="upstream_key_refused")
        if status == 403 and words.code not in _DEAD_KEY:
            # A region or model permission: this key cannot answer this request, others may; it is not dead.
            return Failure(error, another_key=True)
        return Failure(error, Verdict(KeyState.DISABLED, None, words.code or "invalid_api_key"), another_key=True)

    @staticmethod
    def _too_many(headers: Mapping[str, str], words: _Words) -> Failure:
        if words.code in _NO_MONEY or words.type in _NO_MONEY:
            error: StreamProxyError = UpstreamError("the upstream account is out of quota", code="upstream_quota")
            return Failure(error, Verdict(KeyState.PARKED, PARKED, "insufficient_quota"), another_key=True)
        seconds = retry_after(headers.get("Retry-After"), headers.get("Date"))
        wait = COOL_DOWN if seconds is None else seconds
        error = RateLimitError("the upstream is rate limiting us", code="upstream_rate_limited", retry_after=wait)
        return Failure(error, Verdict(KeyState.COOLING, wait, "upstream_rate_limited"), another_key=True)

    @staticmethod
    def _broken(status: int, headers: Mapping[str, str]) -> Failure:
        wait = retry_after(headers.get("Retry-After"), headers.get("Date"))
        code = "upstream_overloaded" if status in {503, 529} else "upstream_error"
        error = UpstreamError("the upstream failed to answer", code=code, retry_after=wait)
        verdict = Verdict(KeyState.COOLING, wait, code) if wait else None
        return Failure(error, verdict, another_key=True)


def _headers(secret: str, accept: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": accept}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    return headers


def _rejected(status: int, words: _Words) -> UpstreamRejectedError:
    said = redact(words.message)[:LONGEST_MESSAGE] or "the upstream refuses this request"
    return UpstreamRejectedError(said, status=status, code=words.code or None, param=words.param)


def _words(body: bytes) -> _Words:
    """Read ``{"error": {...}}``, ``{"error": "text"}`` or ``{"detail": ...}``; HTML and noise say nothing."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Words()
    if not isinstance(answer, dict):
        return _Words()
    error = answer.get("error", answer.get("detail"))
    if not isinstance(error, dict):
        return _Words(message=_text(error))
    param = error.get("param")
    return _Words(
        message=_text(error.get("message")),
        code=_text(error.get("code")),
        type=_text(error.get("type")),
        param=param if isinstance(param, str) else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
