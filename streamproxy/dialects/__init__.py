"""The dialects streamproxy speaks, by the name that settings use."""

from __future__ import annotations

from collections.abc import Mapping

from streamproxy.dialects.base import Dialect
from streamproxy.dialects.openai import OpenAIDialect

DIALECTS: Mapping[str, Dialect] = {"openai": OpenAIDialect()}
