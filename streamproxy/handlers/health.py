"""Is it alive, is it ready, what has it counted."""

from __future__ import annotations

import asyncio

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from streamproxy.domain.ports import Pingable
from streamproxy.errors import StoreUnavailableError
from streamproxy.handlers.base import BaseHandler


class HealthHandler(BaseHandler):
    """The process answers: 200. Nothing else is asked, so that a sick Redis kills no healthy worker."""

    public = True

    async def get(self) -> None:
        self.write_json(b'{"status":"alive"}')

    def on_finish(self) -> None:
        """Probes come every second from every side; they are not worth a line."""


class ReadyHandler(HealthHandler):
    """New requests are welcome here: 200. Draining, or a store gone that the settings require: 503."""

    async def get(self) -> None:
        dependencies = self.environment.dependencies
        faults = await asyncio.gather(*(_fault(d.store) for d in dependencies))
        away = {d.name: fault for d, fault in zip(dependencies, faults, strict=True) if fault is not None}
        refused = self.environment.draining.is_set() or any(d.required and d.name in away for d in dependencies)
        status = "draining" if self.environment.draining.is_set() else "not ready" if refused else "ready"
        self.write_json(msgspec.json.encode({"status": status, "away": away}), status=503 if refused else 200)


class MetricsHandler(HealthHandler):
    """Prometheus text."""

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(self.environment.metrics.exposition())


async def _fault(store: Pingable) -> str | None:
    try:
        await store.ping()
    except StoreUnavailableError as error:
        return error.message
    return None


ROUTES = [(r"/healthz", HealthHandler), (r"/readyz", ReadyHandler), (r"/metrics", MetricsHandler)]
