"""Errors as OpenAI's clients expect them: ``{"error": {"message", "type", "param", "code"}}``.

The one place where an exception becomes an answer, as a body before the first event and as an event
after it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from streamproxy.errors import StreamProxyError
from streamproxy.wire import sse

# OpenAI's clients obey Retry-After up to 60 s (openai-node; openai-python 120 s) and otherwise come back
# after their own back-off of a second: too early, so they are told not to.
LONGEST_OBEYED_WAIT: Final = 60


def body(error: StreamProxyError) -> dict[str, Any]:
    """*error* as the JSON object that clients read."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def encode(error: StreamProxyError) -> bytes:
    """The body of an answer that fails before its first event."""
    return msgspec.json.encode(body(error))


def frame(error: StreamProxyError) -> bytes:
    """The event that tells the reader of a stream, whose status can no longer change. ``[DONE]`` comes after it."""
    return sse.frame(encode(error))


def headers(error: StreamProxyError) -> dict[str, str]:
    """The header fields beside status and body.

    ``Retry-After`` (RFC 9110, 10.2.3) in whole seconds, rounded up so that who obeys it is not too early;
    ``x-should-retry: false``, which OpenAI's clients obey, where a retry cannot help;
    ``WWW-Authenticate`` (RFC 9110, 11.6.1) on 401.
    """
    fields: dict[str, str] = {}
    wait = 0 if error.retry_after is None else max(1, math.ceil(error.retry_after))
    if wait:
        fields["Retry-After"] = str(wait)
    if not error.retryable or wait > LONGEST_OBEYED_WAIT:
        fields["x-should-retry"] = "false"
    if error.status == 401:
        fields["WWW-Authenticate"] = "Bearer"
    return fields
