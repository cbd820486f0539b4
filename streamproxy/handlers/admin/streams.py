"""/admin/streams: what runs now on all workers, and how to end it."""

from __future__ import annotations

from streamproxy.handlers.admin.base import ID, AdminHandler
from streamproxy.services.directory import Placed
from streamproxy.wire.admin import CancelledView, StreamView


class StreamsHandler(AdminHandler):
    """The list, by id. ``complete`` is false while Redis is away: then it is this worker's streams only."""

    fields = frozenset({"limit", "after", "user_id"})

    async def get(self) -> None:
        page, directory = self.page(), self.environment.admin.streams
        user_id, now = self.id_field("user_id"), directory.clock()
        placed, complete = await directory.all()
        found = [
            view(p, now) for p in placed if p.stream.stream_id > page.after and user_id in (None, p.stream.user_id)
        ]
        self.write_page(page, found, complete=complete)


class StreamHandler(AdminHandler):
    """One running stream: DELETE ends it. Its client gets a valid ending, with what was said so far."""

    async def delete(self, stream_id: str) -> None:
        placed = await self.environment.admin.streams.cancel(stream_id)
        self.write_view(CancelledView(id=stream_id, worker=placed.worker), status=202)


def view(placed: Placed, now: float) -> StreamView:
    """*placed* as it stands *now* (epoch seconds)."""
    stream = placed.stream
    return StreamView(
        id=stream.stream_id,
        request_id=stream.request_id,
        user_id=stream.user_id,
        user_name=stream.user_name,
        model=stream.model,
        endpoint=stream.endpoint,
        worker=placed.worker,
        age=round(max(now - stream.began, 0.0), 3),
    )


ROUTES = [(r"/admin/streams", StreamsHandler), (rf"/admin/streams/({ID})", StreamHandler)]
