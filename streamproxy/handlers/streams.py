"""Streams for EventSource: start one, ask what it was, cancel it. ``events`` reads them.

Native ``EventSource`` can only GET, sends no header, and reconnects after every end: hence a POST that starts the
stream and names the address of its events.
"""

from __future__ import annotations

import time
from urllib.parse import quote

import msgspec

from streamproxy.domain.limits import Ask, LimitPolicy, Window
from streamproxy.errors import BadRequestError
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.events import stream_id_of
from streamproxy.handlers.ratelimit import limit_fields
from streamproxy.services.order import Order
from streamproxy.services.sources import Source
from streamproxy.wire.chat import parse_request

_ON_DISCONNECT = {"cancel": True, "finish": False}
# Each leaves a word in Redis for some seconds, and waits.
CANCELLATIONS = LimitPolicy(requests=(Window(60, 60),))


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
        self._tell(await self._begun(order, cancel_when_left=cancel_when_left))

    async def _begun(self, order: Order, *, cancel_when_left: bool) -> Source:
        """The stream, begun once per Idempotency-Key."""
        streams, user_id = self.environment.streams, self.principal.id
        key = self.request.headers.get("Idempotency-Key")
        async with streams.claims.claimed(user_id, key, stream_id=order.stream_id, body=self.json_body) as claim:
            if claim.first:
                live = await streams.start(order, cancel_when_left=cancel_when_left)
                return Source(live.head, live)
        return await streams.claims.begun(claim.stream_id, user_id)

    def _cancel_when_left(self, choice: object) -> bool:
        if choice is None:
            return self.environment.cancel_when_left
        if not isinstance(choice, str) or choice not in _ON_DISCONNECT:
            raise BadRequestError('on_disconnect must be "cancel" or "finish".', param="on_disconnect")
        return _ON_DISCONNECT[choice]

    def _tell(self, source: Source) -> None:
        environment, head = self.environment, source.head
        ticket = quote(environment.tickets.issue(head.stream_id))
        self.log_fields["stream_id"] = head.stream_id
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


class StreamHandler(BaseHandler):
    """GET: the receipt."""

    async def get(self, text: str) -> None:
        self.write_json(await self.environment.streams.receipt(stream_id_of(text), self.principal.id))


class CancelHandler(BaseHandler):
    """POST: end it, from any worker; again, the same answer."""

    async def post(self, text: str) -> None:
        user_id = self.principal.id
        await self.environment.chat.count(Ask(f"{user_id}:cancellations", self.request_id, CANCELLATIONS))
        receipt = await self.environment.streams.cancel(stream_id_of(text), user_id)
        self.environment.metrics.cancelled(time.monotonic() - self.began)
        self.write_json(receipt)


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
    (r"/v1/streams/([^/]{1,64})/cancel", CancelHandler),
]
