"""POST /v1/chat/completions: the way in that every OpenAI client knows."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import aclosing

from streamproxy.domain.streamlog import Piece, StreamState
from streamproxy.errors import BadRequestError, UpstreamError
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.eventstream import EventStream
from streamproxy.handlers.rendering import fields_and_render, rendering
from streamproxy.handlers.revocation import while_allowed
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Order
from streamproxy.services.relay import Relay
from streamproxy.services.sources import Source
from streamproxy.wire import sse
from streamproxy.wire.chat import parse_request


class ChatCompletionsHandler(AnsweringHandler):
    """Streamed or whole, in a session (``X-Session-Id``) or without, recorded (``X-Resumable: 1``) or not."""

    def post(self) -> Awaitable[None]:
        request = parse_request(self.json_body)
        sent = self.sent
        session_id = sent.get("X-Session-Id")
        order = self.order(request, endpoint="/v1/chat/completions", session_id=session_id)
        self.rendering = rendering(self, order.stream_id) if self.request.query else None
        if self.rendering is not None and not request.stream:
            raise BadRequestError('A format is for "stream": true.', param="stream")
        if request.stream and "X-Resumable" in sent and sent["X-Resumable"] == "1":
            return self._resumable(order)
        return self.relay(order)

    async def _resumable(self, order: Order) -> None:
        """The stream goes on when the client leaves, and every event says where to resume."""
        streams = self.environment.streams
        self.log_fields["stream_id"] = order.stream_id
        live = await streams.start(order, cancel_when_left=self.environment.cancel_when_left)
        every = self.environment.heartbeat_seconds
        async with while_allowed(self.admit, self.client, every=every):
            with self.while_client_listens():
                await self._send(live, order)
        if self.client_left:
            self.on_finish()

    async def _send(self, live: LiveStream, order: Order) -> None:
        environment, source = self.environment, Source(live.head, live)
        own_fields, render = fields_and_render(self.rendering)
        fields = {"X-Stream-Id": order.stream_id, **own_fields}
        if order.session_id is not None:
            fields["X-Session-Id"] = order.session_id
        events = EventStream(
            self,
            heartbeat=environment.heartbeat_seconds,
            open_after=environment.open_after_seconds,
            fields=lambda: fields,
            render=render,
        )
        with events, environment.streams.place(source):
            after = 0
            async with aclosing(environment.streams.pieces(source, after)) as pieces:
                async for piece in pieces:
                    if live.failure is not None and not piece.payloads and not events.opened:
                        # Nothing was sent yet: the error can still be a status.
                        raise live.failure
                    if piece.leaves_gap(after):
                        # Fenced, and the log has lost what came next: never taken for a whole answer.
                        await events.send(Relay.failing(UpstreamError("The stream broke off.", code="stream_expired")))
                        break
                    await events.send(_frames(order.stream_id, piece))
                    after = piece.last
            events.finish()


def _frames(stream_id: str, piece: Piece) -> bytes:
    """A batch as OpenAI's clients read it, with the ids that this client asked for."""
    payloads = [*piece.payloads]
    if piece.ending is not None:
        payloads.append(b"[DONE]" if piece.ending.state is StreamState.DONE else piece.ending.payload)
    before = b"id: %b." % stream_id.encode()
    frames = [b"%b%d\ndata: %b\n\n" % (before, number, payload) for number, payload in enumerate(payloads, piece.first)]
    if piece.ending is not None and piece.ending.state is StreamState.FAILED:
        frames.append(sse.DONE)
    return b"".join(frames)


ROUTES = [(r"/v1/chat/completions", ChatCompletionsHandler)]
