"""Handlers that answer with a model's words: streamed as they come, or whole."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from streamproxy.domain.sessions import checked_session_id
from streamproxy.domain.streams import EndReason
from streamproxy.domain.tracing import UNTRACED, Span, operation
from streamproxy.errors import StreamProxyError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.eventstream import EventStream
from streamproxy.handlers.ratelimit import limit_fields
from streamproxy.services.chat import new_stream_id
from streamproxy.services.exchange import Exchange
from streamproxy.services.order import EndpointPolicy, Order
from streamproxy.services.relay import Relay
from streamproxy.wire.aisdk import HEADERS, UiMessageStream
from streamproxy.wire.plain import AnyRequest


class AnsweringHandler(BaseHandler):
    """A subclass makes an order of its request and hands it to ``relay``, or to ``answered`` and writes itself."""

    exchange: Exchange | None = None
    rendering: UiMessageStream | None = None

    def order(
        self,
        request: AnyRequest,
        *,
        endpoint: str,
        session_id: str | None = None,
        policy: EndpointPolicy | None = None,
    ) -> Order:
        """The order for *request*; BadRequestError for a malformed *session_id*."""
        self.log_fields["model"] = request.model
        stream_id = new_stream_id()
        traced = self.environment.tracer.recording or "Traceparent" in self.sent
        return Order(
            principal=self.principal,
            request=request,
            request_id=self.request_id,
            stream_id=stream_id,
            endpoint=endpoint,
            session_id=None if session_id is None else checked_session_id(session_id),
            trace=self._span(endpoint, request.model, stream_id) if traced else UNTRACED,
            policy=policy,
        )

    def _span(self, endpoint: str, model: str, stream_id: str) -> Span:
        """The span of this request, in the trace that it came with or in one of its own."""
        attributes = {
            "http.request.method": str(self.request.method),
            "http.route": endpoint,
            "gen_ai.operation.name": operation(endpoint),
            "gen_ai.request.model": model,
            "streamproxy.request_id": self.request_id,
            "streamproxy.stream_id": stream_id,
        }
        # Without that one there is no trace to join.
        headers = self.request.headers if "Traceparent" in self.sent else {}
        return self.environment.tracer.request(f"{self.request.method} {endpoint}", headers, attributes)

    def relay(self, order: Order) -> Awaitable[None]:
        """Answer as the upstream does: a stream of events, or its JSON body."""
        self.exchange = exchange = self.environment.chat.exchange(order)
        return self._stream(exchange) if order.request.stream else self._whole(exchange)

    async def answered(self, order: Order) -> Exchange | None:
        """Wait for the whole answer, settled and recorded; None when the client left meanwhile.

        The order must not stream. What was said is in the exchange's ``transcript``.
        """
        self.exchange = exchange = self.environment.chat.exchange(order)
        complete = False
        try:
            with self.while_client_listens():
                async with exchange:
                    await exchange.open(self.task)
                    await exchange.body()
                complete = True
        finally:
            self._log_exchange()
        return exchange if complete else None

    async def _whole(self, exchange: Exchange) -> None:
        try:
            with self.while_client_listens():
                async with exchange:
                    await exchange.open(self.task)
                    body = await exchange.body()
                    self._note(exchange)
                    self.set_headers(self.answer_headers())
                    self.write_json(body)
                    self.finish()
                    exchange.told()
        finally:
            self._log_exchange()

    async def _stream(self, exchange: Exchange) -> None:
        environment = self.environment
        events = EventStream(
            self,
            heartbeat=environment.heartbeat_seconds,
            open_after=environment.open_after_seconds,
            fields=self.answer_headers,
            render=None if self.rendering is None else self.rendering.feed,
        )
        try:
            with self.while_client_listens(), events:
                try:
                    async with exchange:
                        await exchange.open(self.task)
                        await exchange.send_to(events)
                        self._note(exchange)
                        events.finish()
                        exchange.told()
                except StreamProxyError as error:
                    if not events.opened:
                        raise
                    await self._fail_in_stream(exchange, events, error)
        finally:
            self._log_exchange()

    async def _fail_in_stream(self, exchange: Exchange, events: EventStream, error: StreamProxyError) -> None:
        """200 is out: the error is told in the stream, where every SDK raises on it."""
        self.log_fields["error"] = error.code
        await events.send(Relay.failing(error))
        self._note(exchange)
        events.finish()

    def answer_headers(self) -> Mapping[str, str]:
        """What is known of the exchange by now, for answers and errors alike."""
        exchange = self.exchange
        if exchange is None:
            return {}
        fields = {"X-Stream-Id": exchange.order.stream_id, **limit_fields(exchange.standings)}
        if self.rendering is not None:
            fields |= HEADERS
        fields["X-Streamproxy-Attempts"] = str(exchange.attempts.number)
        if exchange.order.session_id is not None:
            fields["X-Session-Id"] = exchange.order.session_id
        if exchange.prompt is not None and exchange.prompt.left_out:
            fields["X-Context-Truncated"] = str(exchange.prompt.left_out)
        return fields

    def _log_exchange(self) -> None:
        if self.exchange is not None and not self.logged:
            self._note(self.exchange)
        if self.client_left:
            self.on_finish()

    def _note(self, exchange: Exchange) -> None:
        """The exchange's part of the log line."""
        outcome = exchange.outcome
        self.log_fields["stream_id"] = exchange.order.stream_id
        if outcome is None:
            return
        record = outcome.record
        self.log_fields |= {
            "upstream": record.upstream,
            "key": record.key_last4,
            "attempts": record.attempts,
            "ttft_ms": record.ttft_ms,
            "chunks": record.chunks,
            "prompt_tokens": record.usage.prompt_tokens,
            "completion_tokens": record.usage.completion_tokens,
            "estimated": record.usage.estimated,
            "end_reason": str(EndReason.CLIENT_GONE if self.client_left else record.end_reason),
        }
        if record.error_code:
            self.log_fields["error"] = record.error_code
