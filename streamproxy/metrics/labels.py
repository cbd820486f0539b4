"""Which names may become labels: a label's values are never chosen by a stranger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.tracing import provider

OTHER: Final = "other"


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
        self._providers = {upstream.name: provider(upstream.dialect) for upstream in known}

    def model(self, name: str) -> str:
        """*name* if the catalogue has it, the pattern that serves it, else ``other``."""
        if name in self._models:
            return name
        return next((pattern for pattern in self._prefixes if name.startswith(pattern[:-1])), OTHER)

    def provider(self, upstream: str) -> str:
        """``gen_ai.provider.name`` of an upstream by its name."""
        return self._providers.get(upstream) or provider("")
