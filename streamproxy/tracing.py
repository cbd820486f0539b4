"""OpenTelemetry traces over OTLP: a span a request, a span a call of an upstream. Needs the extra ``otel``.

Which attributes they have: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/; never what was said. The
SDK sends in batches from a thread of its own; a collector that is away costs the oldest spans, and no request waits.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping
from typing import ClassVar, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamproxy import __version__
from streamproxy.domain.tracing import Attributes

_EXPORT_SECONDS: Final = 5.0
_DELAY_MS: Final = 1000
_FIELDS: Final = TraceContextTextMapPropagator()


class OtelSpan:
    """Fills ``domain.tracing.Span``."""

    __slots__ = ("_span", "_tracer")
    recorded: ClassVar[bool] = True

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def headers(self) -> Mapping[str, str]:
        fields: dict[str, str] = {}
        _FIELDS.inject(fields, set_span_in_context(self._span))
        return fields

    def child(self, name: str, attributes: Attributes) -> OtelSpan:
        context = set_span_in_context(self._span)
        return OtelSpan(self._tracer, self._tracer.start_span(name, context, SpanKind.CLIENT, attributes))

    def end(self, attributes: Attributes, *, error: str | None = None) -> None:
        if not self._span.is_recording():
            return
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OtelTracer:
    """Fills ``domain.tracing.Tracer``. ``close`` sends what is left and may take seconds: not on the loop."""

    recording: ClassVar[bool] = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("streamproxy", __version__)

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> OtelSpan:
        fields = {field: headers[field] for field in ("traceparent", "tracestate") if field in headers}
        context = _FIELDS.extract(fields)
        return OtelSpan(self._tracer, self._tracer.start_span(name, context, SpanKind.SERVER, attributes))

    def close(self) -> None:
        self._provider.shutdown()


def open_tracer(endpoint: str, *, ratio: float) -> OtelTracer:
    """Traces go to *endpoint*; *ratio* of those that begin here are recorded, others as their beginner decided.

    Fields that the collector wants (credentials) are the SDK's ``OTEL_EXPORTER_OTLP_HEADERS``.
    """
    # A line for each failed export would drown the log while the collector is away.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "streamproxy"),
            "service.version": __version__,
            "service.instance.id": f"{platform.node()}:{os.getpid()}",
        }
    )
    provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MS))
    return OtelTracer(provider)
