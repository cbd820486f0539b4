"""Which names may become labels: a label's values are never chosen by a stranger."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.tracing import operation, provider

OTHER: Final = "other"
# Endpoints, upstreams and models that go together, as they come: a few of each, unless strangers invent models.
_REMEMBERED: Final = 1024


class Labels:
    """Models and providers as the catalogue names them. *models* are further names that the settings know."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._fixed = frozenset(models)
        self._models = self._fixed
        self._prefixes: tuple[str, ...] = ()
        self._providers: dict[str, str] = {}
        # The labels of a stream by its endpoint, upstream and model, in the order of GenAi's.
        self.of_stream = lru_cache(_REMEMBERED)(self._of_stream)

    def meet(self, upstreams: Iterable[Upstream]) -> None:
        """These are the upstreams from now on."""
        known = list(upstreams)
        names = {name for upstream in known for name in upstream.models}
        self._models = self._fixed | {name for name in names if not name.endswith("*")}
        # ``*`` alone says nothing of a model; ``gpt-4*`` is worth a label of its own.
        self._prefixes = tuple(sorted((n for n in names if n.endswith("*") and n != "*"), key=len, reverse=True))
        self._providers = {upstream.name: provider(upstream.dialect) for upstream in known}
        self.of_stream.cache_clear()

    def _of_stream(self, endpoint: str, upstream: str, model: str) -> tuple[str, str, str]:
        return operation(endpoint), self.provider(upstream), self.model(model)

    def model(self, name: str) -> str:
        """*name* if the catalogue has it, the pattern that serves it, else ``other``."""
        if name in self._models:
            return name
        return next((pattern for pattern in self._prefixes if name.startswith(pattern[:-1])), OTHER)

    def provider(self, upstream: str) -> str:
        """``gen_ai.provider.name`` of an upstream by its name."""
        return self._providers.get(upstream) or provider("")
