"""Which errors are the upstream's, for systems that told their callers no more than that."""

from __future__ import annotations

from streamproxy.errors import StreamProxyError, UpstreamError

# Raised as other kinds: our callers' own limits have another code, and a model that the settings name and no
# upstream serves is nothing that a caller asked for.
_UPSTREAM_CODES = frozenset({"upstream_rate_limited", "model_not_found"})


def is_upstream_fault(error: StreamProxyError) -> bool:
    """Whether the request failed behind us and not before us."""
    return isinstance(error, UpstreamError) or error.code in _UPSTREAM_CODES
