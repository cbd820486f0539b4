"""GET /v1/streams/{id}/events: a stream as ``EventSource`` reads it, from any position, on any worker.

https://html.spec.whatwg.org/multipage/server-sent-events.html#the-eventsource-interface
"""

from __future__ import annotations

import time
from contextlib import aclosing, nullcontext

from streamproxy.domain.limits import Ask, LimitPolicy, Window
from streamproxy.domain.streamlog import Piece, StreamState, checked_stream_id, event_id, position_after
from streamproxy.errors import NotFoundError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.eventstream import EventStream
from streamproxy.handlers.handover import HandedOver, come_back, until_handed_over
from streamproxy.handlers.rendering import fields_and_render, rendering
from streamproxy.handlers.revocation import while_allowed
from streamproxy.services.sources import Source
from streamproxy.wire import sse
from streamproxy.wire.aisdk import UiMessageStream

# EventSource's own pause before it reconnects: browsers choose 3 to 5 s by default.
RETRY = b"retry: 1000\n\n"
# A loop of reconnects is not allowed to become one of reads; the first read of a stream is not a reconnect.
RESUMES = LimitPolicy(requests=(Window(30, 60),))
READS = LimitPolicy(requests=(Window(120, 60),))


class EventsHandler(BaseHandler):
    """The events, from the beginning or behind ``Last-Event-ID``, during and after generation.

    With ``?format=ai-sdk`` as the AI SDK resumes: 204 when nothing runs that it could read, unless it says from where.
    """

    user_id = ""
    rendering: UiMessageStream | None = None

    async def admit(self) -> None:
        """A bearer or cookie, or the stream's own ticket."""
        ticket = self.get_query_argument("ticket", None)
        if ticket is None:
            await super().admit()
            self.user_id = self.principal.id
        else:
            self.user_id = await self.environment.tickets.owner(ticket, stream_id_of(self.path_args[0]))

    async def _still_allowed(self) -> None:
        if self.get_query_argument("ticket", None) is None:
            await super().admit()
        else:
            await self.environment.tickets.check(self.user_id)

    async def get(self, text: str) -> None:
        streams, stream_id = self.environment.streams, stream_id_of(text)
        self.log_fields["stream_id"] = stream_id
        said = self.request.headers.get("Last-Event-ID") or self.get_query_argument("last_event_id", None)
        after = position_after(said, stream_id)
        self.rendering = rendering(self, stream_id, seen=after)
        await self._count(resumed=bool(after))
        try:
            source = await streams.find(stream_id, self.user_id)
        except NotFoundError:
            if self.rendering is None:
                raise
            self.set_status(204)
            return
        idle = self.rendering is not None and not said and await streams.is_over(source)
        if idle or await streams.seen_all(source, after):
            # The one answer that stops an EventSource.
            self.set_status(204)
            return
        every = self.environment.heartbeat_seconds
        with streams.place(source):
            async with while_allowed(self._still_allowed, self.client, every=every):
                with self.while_client_listens():
                    await self._send(source, after)
        if self.client_left:
            self.on_finish()

    async def _count(self, *, resumed: bool) -> None:
        kind, policy = ("resumes", RESUMES) if resumed else ("reads", READS)
        await self.environment.chat.count(Ask(f"{self.user_id}:{kind}", self.request_id, policy))

    async def _send(self, source: Source, after: int) -> None:
        heartbeat = self.environment.heartbeat_seconds
        fields, render = fields_and_render(self.rendering)
        events = EventStream(
            self,
            heartbeat=heartbeat,
            open_after=heartbeat,
            fields=lambda: fields,
            render=render,
        )
        with events:
            await events.send(RETRY)
            try:
                # What runs here is read here to its end; what runs elsewhere can be read anywhere.
                async with until_handed_over(self.environment.draining) if source.live is None else nullcontext():
                    # What another rendering looks like depends on all that came before.
                    await self._read(events, source, 0 if self.rendering else after)
            except HandedOver:
                if self.rendering is not None:
                    # Its client takes an end for the end, and only a lost connection for one to be resumed.
                    self.client.close()
                    return
                await events.send(come_back())
            events.finish()

    async def _read(self, events: EventStream, source: Source, after: int) -> None:
        async with aclosing(self.environment.streams.pieces(source, after)) as pieces:
            resuming = after > 0
            async for piece in pieces:
                if resuming:
                    self.environment.metrics.resumed(time.monotonic() - self.began)
                    resuming = False
                await events.send(frames_of(source.head.stream_id, piece, after))
                after = piece.last


def stream_id_of(text: str) -> str:
    """*text* when it can be a stream's id; NotFoundError otherwise, as for one that is unknown."""
    found = checked_stream_id(text)
    if found is None:
        raise NotFoundError("No such stream.", code="stream_not_found")
    return found


def frames_of(stream_id: str, piece: Piece, after: int) -> bytes:
    """The frames of a batch for who has seen *after*, the ending as an event of its own name.

    What lies between and is lost is told by ``event: gap``, which has no number of its own.
    """
    before = b"id: %b." % stream_id.encode()
    frames = [
        b"%b%d\ndata: %b\n\n" % (before, number, payload) for number, payload in enumerate(piece.payloads, piece.first)
    ]
    if piece.leaves_gap(after):
        frames.insert(0, sse.encode(f'{{"first":{after + 1},"last":{piece.first - 1}}}', event="gap"))
    if piece.ending is not None:
        name = "done" if piece.ending.state is StreamState.DONE else "failed"
        frames.append(sse.encode(piece.ending.payload.decode(), event=name, id=event_id(stream_id, piece.last)))
    return b"".join(frames)


ROUTES = [(r"/v1/streams/([^/]{1,64})/events", EventsHandler)]
