"""Which names may become labels: a label's values are never chosen by a stranger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streamproxy.domain.keypool import Upstream

OTHER: Final = "other"
# The format flavour, as the conventions ask: everything here speaks OpenAI's, by itself or as Azure spells it.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen-ai-provider-name
_PROVIDERS: Final = {"azure": "azure.ai.openai"}
OPENAI: Final = "openai"
_OPERATIONS: Final = {"/v1/embeddings": "embeddings", "/v1/images/generations": "generate_content"}


class Labels:
    """Models and providers as the catalogue names them. *models* are further names that the settings know."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._fixed = frozenset(models)
        self._models = self._fixed
        self._prefixes: tuple[str, ...] = ()
        self._providers: dict[str, str] = {}

    def meet(self, upstreams: Iterable[Upstream]) -> None:
        """These are the upstreams from now on."""
        known = list(upstreams)
        names = {name for upstream in known for name in upstream.models}
        self._models = self._fixed | {name for name in names if not name.endswith("*")}
        # ``*`` alone says nothing of a model; ``gpt-4*`` is worth a label of its own.
        self._prefixes = tuple(sorted((n for n in names if n.endswith("*") and n != "*"), key=len, reverse=True))
        self._providers = {upstream.name: _PROVIDERS.get(upstream.dialect, OPENAI) for upstream in known}

    def model(self, name: str) -> str:
        """*name* if the catalogue has it, the pattern that serves it, else ``other``."""
        if name in self._models:
            return name
        return next((pattern for pattern in self._prefixes if name.startswith(pattern[:-1])), OTHER)

    def provider(self, upstream: str) -> str:
        """``gen_ai.provider.name`` of an upstream by its name."""
        return self._providers.get(upstream, OPENAI)


def operation(endpoint: str) -> str:
    """``gen_ai.operation.name`` of one of our endpoints."""
    return _OPERATIONS.get(endpoint, "chat")
