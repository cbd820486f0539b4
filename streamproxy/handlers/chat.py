"""POST /v1/chat/completions: the way in that every OpenAI client knows."""

from __future__ import annotations

from contextlib import aclosing

from streamproxy.domain.streamlog import Piece, StreamState, event_id
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.eventstream import EventStream
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Order
from streamproxy.services.streams import Source
from streamproxy.wire import sse
from streamproxy.wire.chat import parse_request


class ChatCompletionsHandler(AnsweringHandler):
    """Streamed or whole, in a session (``X-Session-Id``) or without, recorded (``X-Resumable: 1``) or not."""

    async def post(self) -> None:
        request = parse_request(self.json_body)
        session_id = self.request.headers.get("X-Session-Id")
        order = self.order(request, endpoint="/v1/chat/completions", session_id=session_id)
        if request.stream and self.request.headers.get("X-Resumable") == "1":
            await self._resumable(order)
        else:
            await self.relay(order)

    async def _resumable(self, order: Order) -> None:
        """The stream goes on when the client leaves, and every event says where to resume."""
        streams = self.environment.streams
        self.log_fields["stream_id"] = order.stream_id
        live = await streams.start(order, cancel_when_left=self.environment.cancel_when_left)
        async with self.while_client_listens():
            await self._send(live, order)
        if self.client_left:
            self.log_request()

    async def _send(self, live: LiveStream, order: Order) -> None:
        environment = self.environment
        fields = {"X-Stream-Id": order.stream_id}
        if order.session_id is not None:
            fields["X-Session-Id"] = order.session_id
        events = EventStream(
            self,
            heartbeat=environment.heartbeat_seconds,
            open_after=environment.open_after_seconds,
            fields=lambda: fields,
        )
        with events:
            async with aclosing(environment.streams.pieces(Source(live.head, live), 0)) as pieces:
                async for piece in pieces:
                    if live.failure is not None and not piece.payloads and not events.opened:
                        # Nothing was sent yet: the error can still be a status.
                        raise live.failure
                    await events.send(_frames(order.stream_id, piece))
            self.finish()


def _frames(stream_id: str, piece: Piece) -> bytes:
    """A batch as OpenAI's clients read it, with the ids that this client asked for."""
    payloads = [*piece.payloads]
    if piece.ending is not None:
        payloads.append(b"[DONE]" if piece.ending.state is StreamState.DONE else piece.ending.payload)
    frames = [
        b"id: %b\ndata: %b\n\n" % (event_id(stream_id, number).encode(), payload)
        for number, payload in enumerate(payloads, piece.first)
    ]
    if piece.ending is not None and piece.ending.state is StreamState.FAILED:
        frames.append(sse.DONE)
    return b"".join(frames)


ROUTES = [(r"/v1/chat/completions", ChatCompletionsHandler)]
