"""The dialects streamproxy speaks, by the name that settings use."""

from __future__ import annotations

from collections.abc import Callable

from streamproxy.dialects.azure import AzureDialect
from streamproxy.dialects.base import Dialect
from streamproxy.dialects.openai import OpenAIDialect
from streamproxy.domain.keypool import Upstream
from streamproxy.domain.quirks import Quirks

DIALECTS: dict[str, Callable[[Quirks], Dialect]] = {"openai": OpenAIDialect, "azure": AzureDialect}


def dialect_of(upstream: Upstream) -> Dialect:
    """How *upstream* wants to be spoken to."""
    return DIALECTS[upstream.dialect](upstream.quirks)
