"""Cross-origin rules for browser SDKs: who may read our answers, and what they may send.

https://fetch.spec.whatwg.org/#http-cors-protocol. Origins come from the settings; without any, browsers of
other origins read nothing. Credentials are bearers in a header, so ``Allow-Credentials`` is never sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tornado.httputil import HTTPHeaders

METHODS = "GET, POST, DELETE, OPTIONS"
ALLOWED = frozenset(
    {
        "authorization",
        "content-type",
        "x-requested-with",
        "openai-organization",
        "openai-project",
        "last-event-id",
        "cache-control",
        "x-session-id",
        "x-resumable",
        "idempotency-key",
        "traceparent",
    }
)
EXPOSED = ", ".join(
    [
        *("retry-after", "x-request-id", "x-stream-id", "x-session-id", "x-context-truncated"),
        *("ratelimit", "ratelimit-policy", "x-should-retry"),
        *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
    ]
)
# The SDKs send about a dozen x-stainless-* fields; what asks for more than this is no SDK.
MOST_FIELDS = 40
_FIELD_NAME = re.compile(r"[a-z0-9-]{1,64}")
MAX_AGE = "86400"
_VARYING = {"Vary": "Origin"}


class Cors:
    """Answers for one list of allowed origins; ``*`` stands for every origin."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        self._answers = {origin: {**_allowing(origin), "Vary": "Origin"} for origin in self._origins}
        # For a request without an Origin, or with another one.
        self.others: Mapping[str, str] = _VARYING if self._origins else {}
        if "*" in self._origins:
            # Where every origin is allowed it makes no difference which one asks.
            self._answers, self.others = {}, _allowing("*")

    def answer(self, origin: str) -> Mapping[str, str]:
        """Fields for any answer, errors and streams included, to a request from a page of *origin*."""
        return self._answers.get(origin, self.others)

    def preflight(self, headers: HTTPHeaders) -> Mapping[str, str]:
        """Further fields for the answer to OPTIONS."""
        if self._allowed(headers) is None:
            return {}
        return {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": ", ".join(sorted(ALLOWED | self._asked(headers))),
            "Access-Control-Max-Age": MAX_AGE,
        }

    def _allowed(self, headers: HTTPHeaders) -> str | None:
        if "*" in self._origins:
            return "*"
        origin = headers.get("Origin")
        return origin if origin in self._origins else None

    @staticmethod
    def _asked(headers: HTTPHeaders) -> set[str]:
        asked = headers.get("Access-Control-Request-Headers", "").lower().split(",")[:MOST_FIELDS]
        names = {name.strip() for name in asked}
        return {n for n in names if n.startswith("x-stainless-") and _FIELD_NAME.fullmatch(n)}


def _allowing(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
