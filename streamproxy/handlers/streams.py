"""Streams for EventSource: start one, read it, resume it, cancel it. And sessions, read or forgotten.

Native ``EventSource`` can only GET, sends no header, and reconnects after every end: hence a POST that starts the
stream and names the address of its events, and 204 for who has seen them all.
https://html.spec.whatwg.org/multipage/server-sent-events.html#the-eventsource-interface
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from urllib.parse import quote

import msgspec
from tornado.http1connection import HTTP1Connection

from streamproxy.domain.limits import Ask, LimitPolicy, Window
from streamproxy.domain.sessions import SessionRef, checked_session_id
from streamproxy.domain.streamlog import Piece, StreamState, checked_stream_id, event_id, position_after
from streamproxy.errors import AuthenticationError, BadRequestError, NotFoundError
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.eventstream import EventStream
from streamproxy.handlers.ratelimit import limit_fields
from streamproxy.services.order import Order
from streamproxy.services.streams import Source
from streamproxy.wire import sse
from streamproxy.wire.chat import parse_request

# EventSource's own pause before it reconnects: browsers choose 3 to 5 s by default.
RETRY = b"retry: 1000\n\n"
# A loop of reconnects is not allowed to become one of reads.
RESUMES = LimitPolicy(requests=(Window(30, 60),))
LONGEST_IDEMPOTENCY_KEY = 255
# How long who lost the right to read a stream may go on reading it.
AUTHORISE_SECONDS = 10.0
_ON_DISCONNECT = {"cancel": True, "finish": False}


class StreamsHandler(AnsweringHandler):
    """POST: begin to generate at once."""

    async def post(self) -> None:
        fields = _fields(self.json_body)
        cancel_when_left = self._cancel_when_left(fields.pop("on_disconnect", None))
        session_id = fields.pop("session_id", None)
        if session_id is not None and not isinstance(session_id, str):
            raise BadRequestError("session_id must be a string.", param="session_id")
        request = parse_request(msgspec.json.encode({**fields, "stream": True}))
        order = self.order(request, endpoint="/v1/streams", session_id=session_id)
        await self._begin(order, cancel_when_left=cancel_when_left)

    async def _begin(self, order: Order, *, cancel_when_left: bool) -> None:
        """Once per Idempotency-Key: whoever repeats a request is told of the stream that it began."""
        streams, user_id = self.environment.streams, self.principal.id
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY:
            raise BadRequestError("Idempotency-Key must be 1 to 255 characters.", param="Idempotency-Key")
        stream_id = order.stream_id if key is None else await streams.claimed(user_id, key, order.stream_id)
        if stream_id == order.stream_id:
            try:
                await streams.start(order, cancel_when_left=cancel_when_left)
            except BaseException:
                if key is not None:
                    await streams.release(user_id, key)
                raise
        self._tell(await streams.begun(stream_id, user_id))

    def _cancel_when_left(self, choice: object) -> bool:
        if choice is None:
            return self.environment.cancel_when_left
        if not isinstance(choice, str) or choice not in _ON_DISCONNECT:
            raise BadRequestError('on_disconnect must be "cancel" or "finish".', param="on_disconnect")
        return _ON_DISCONNECT[choice]

    def _tell(self, source: Source) -> None:
        environment, head = self.environment, source.head
        ticket = quote(environment.tickets.issue(head.stream_id))
        self.set_header("X-Stream-Id", head.stream_id)
        self.set_headers(limit_fields(environment.streams.standings(head.stream_id)))
        body = {
            "id": head.stream_id,
            "object": "stream",
            "events_url": f"/v1/streams/{head.stream_id}/events?ticket={ticket}",
            "created": int(head.created),
            "expires_at": int(head.created + environment.stream_seconds),
        }
        self.write_json(msgspec.json.encode(body), status=201)


class _StreamHandler(BaseHandler):
    """What the handlers of one stream share."""

    @staticmethod
    def stream_id(text: str) -> str:
        found = checked_stream_id(text)
        if found is None:
            raise NotFoundError("No such stream.", code="stream_not_found")
        return found


class EventsHandler(_StreamHandler):
    """GET: the events, from the beginning or behind ``Last-Event-ID``, during and after generation."""

    user_id = ""

    async def admit(self) -> None:
        """A bearer or cookie, or the stream's own ticket."""
        ticket = self.get_query_argument("ticket", None)
        if ticket is None:
            await super().admit()
            self.user_id = self.principal.id
        else:
            stream_id = self.stream_id(self.path_args[0])
            self.user_id = await self.environment.tickets.owner(ticket, stream_id)

    async def get(self, text: str) -> None:
        stream_id = self.stream_id(text)
        said = self.request.headers.get("Last-Event-ID") or self.get_query_argument("last_event_id", None)
        after = position_after(said, stream_id)
        if after:
            await self._count_resume()
        source = await self.environment.streams.find(stream_id, self.user_id)
        self.log_fields["stream_id"] = stream_id
        if await self.environment.streams.seen_all(source, after):
            # The one answer that stops an EventSource.
            self.set_status(204)
            return
        watch = asyncio.create_task(self._while_allowed())
        try:
            async with self.while_client_listens():
                await self._send(source, after)
        finally:
            watch.cancel()
        if self.client_left:
            self.log_request()

    async def _while_allowed(self) -> None:
        """A credential that ends while its stream is read ends the reading too."""
        while True:
            await asyncio.sleep(AUTHORISE_SECONDS)
            try:
                await self.admit()
            except (AuthenticationError, NotFoundError):
                if isinstance(self.request.connection, HTTP1Connection):
                    self.request.connection.stream.close()
                return

    async def _count_resume(self) -> None:
        scope = f"{self.user_id}:resumes"
        await self.environment.chat.count(Ask(scope, self.request_id, RESUMES))

    async def _send(self, source: Source, after: int) -> None:
        heartbeat = self.environment.heartbeat_seconds
        events = EventStream(self, heartbeat=heartbeat, open_after=heartbeat, fields=dict)
        with events:
            await events.send(RETRY)
            async with aclosing(self.environment.streams.pieces(source, after)) as pieces:
                resuming = after > 0
                async for piece in pieces:
                    if resuming:
                        self.environment.metrics.resumed(time.monotonic() - self.began)
                        resuming = False
                    await events.send(frames_of(source.head.stream_id, piece))
            self.finish()


def frames_of(stream_id: str, piece: Piece) -> bytes:
    """The frames of a batch as EventSource reads them, the ending as an event of its own name."""
    frames = [
        b"id: %b\ndata: %b\n\n" % (event_id(stream_id, number).encode(), payload)
        for number, payload in enumerate(piece.payloads, piece.first)
    ]
    if piece.ending is not None:
        name = "done" if piece.ending.state is StreamState.DONE else "failed"
        frames.append(sse.encode(piece.ending.payload.decode(), event=name, id=event_id(stream_id, piece.last)))
    return b"".join(frames)


class StreamHandler(_StreamHandler):
    """GET: the receipt."""

    async def get(self, text: str) -> None:
        self.write_json(await self.environment.streams.receipt(self.stream_id(text), self.principal.id))


class CancelHandler(_StreamHandler):
    """POST: end it, from any worker; again, the same answer."""

    async def post(self, text: str) -> None:
        receipt = await self.environment.streams.cancel(self.stream_id(text), self.principal.id)
        self.environment.metrics.cancelled(time.monotonic() - self.began)
        self.write_json(receipt)


class SessionHandler(BaseHandler):
    """GET: what a session holds. DELETE: forget it."""

    async def get(self, text: str) -> None:
        context = await self.environment.sessions.read(self._ref(text))
        if context is None:
            raise NotFoundError("No such session.", code="session_not_found")
        messages = [*([context.system] if context.system else []), *(m for t in context.turns for m in t.messages)]
        body = {"id": text, "object": "session", "messages": messages, "expires_at": int(context.expires_at)}
        self.write_json(msgspec.json.encode(body))

    async def delete(self, text: str) -> None:
        known = await self.environment.sessions.forget(self._ref(text))
        if not known:
            raise NotFoundError("No such session.", code="session_not_found")
        self.write_json(msgspec.json.encode({"id": text, "object": "session", "deleted": True}))

    def _ref(self, text: str) -> SessionRef:
        return SessionRef(self.principal.id, checked_session_id(text))


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError("The body is not JSON.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise BadRequestError("The body must be a JSON object.", code="invalid_json")
    return fields


ROUTES = [
    (r"/v1/streams", StreamsHandler),
    (r"/v1/streams/([^/]{1,64})", StreamHandler),
    (r"/v1/streams/([^/]{1,64})/events", EventsHandler),
    (r"/v1/streams/([^/]{1,64})/cancel", CancelHandler),
    (r"/v1/sessions/([^/]{1,128})", SessionHandler),
]
