"""Builds what traces requests, if the settings say where traces go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from streamproxy.domain.tracing import NoTracer, Tracer
from streamproxy.errors import ConfigurationError
from streamproxy.settings import Settings


async def open_tracing(settings: Settings, stack: AsyncExitStack) -> Tracer:
    """The tracer of this worker, which sends what it has when the worker ends.

    ConfigurationError when traces are wanted and OpenTelemetry is not installed.
    """
    endpoint = settings.telemetry.traces_endpoint
    if endpoint is None:
        return NoTracer()
    try:
        # It takes half a second to import: only who wants traces pays for that.
        from streamproxy.tracing import open_tracer
    except ImportError as exc:
        raise ConfigurationError(
            "telemetry.traces_endpoint needs OpenTelemetry: pip install 'streamproxy[otel]', or leave it unset"
        ) from exc
    tracer = open_tracer(endpoint, ratio=settings.telemetry.traces_ratio)
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer
