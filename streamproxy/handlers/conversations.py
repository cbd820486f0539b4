"""Conversations in the history: the list, what was said in one, and turns taken back."""

from __future__ import annotations

import re

import msgspec

from streamproxy.domain.conversations import Conversation, Remembered
from streamproxy.domain.money import usd
from streamproxy.domain.sessions import SessionRef, checked_session_id
from streamproxy.domain.streamlog import checked_stream_id
from streamproxy.errors import BadRequestError, NotFoundError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.paging import PagedHandler, unknown_cursor
from streamproxy.wire.sessions import AnswerView, ConversationView, MessageView

_MESSAGE_ID = re.compile(r"(st_[A-Za-z0-9_-]{1,61})\.(\d{1,6})", re.ASCII)


class ConversationsHandler(PagedHandler):
    """GET: the caller's sessions, the one spoken in last first."""

    fields = frozenset({"limit", "after"})

    async def get(self) -> None:
        page = self.page()
        after = checked_session_id(page.after) if page.after else ""
        found = await self.environment.conversations.page(self.principal.id, after=after, limit=page.fetch)
        if found is None:
            raise unknown_cursor()
        self.write_page(page, [conversation_view(one) for one in found])


class MessagesHandler(PagedHandler):
    """GET: what was said in a session, the newest first. A session without messages is empty, known or not."""

    fields = frozenset({"limit", "after"})

    async def get(self, text: str) -> None:
        page, session_id = self.page(), checked_session_id(text)
        found = await self.environment.conversations.messages(
            self.principal.id, session_id, before=_place(page.after), limit=page.fetch
        )
        if found is None:
            raise unknown_cursor()
        self.write_page(page, [message_view(one) for one in found])


class TurnHandler(BaseHandler):
    """DELETE: take back a turn and all after it, as who edits a question or asks it again does."""

    async def delete(self, session_id: str, text: str) -> None:
        ref = SessionRef(self.principal.id, checked_session_id(session_id))
        stream_id = checked_stream_id(text)
        if stream_id is None or not await self.environment.sessions.rewind(ref, stream_id):
            raise NotFoundError("This session has no such turn.", code="turn_not_found")
        self.write_json(msgspec.json.encode({"id": stream_id, "object": "session.turn", "deleted": True}))


def conversation_view(one: Conversation) -> ConversationView:
    return ConversationView(
        id=one.session_id, title=one.title, created=one.created, updated=one.updated, messages=one.messages
    )


def message_view(one: Remembered) -> MessageView:
    said, stream = one.message, one.stream
    answer = None
    if said.role == "assistant" and stream is not None:
        answer = AnswerView(
            model=stream.model,
            ttft_ms=stream.ttft_ms,
            duration_ms=stream.duration_ms,
            prompt_tokens=stream.usage.prompt_tokens,
            completion_tokens=stream.usage.completion_tokens,
            estimated=stream.usage.estimated,
            cost_usd=f"{usd(stream.cost_nano_usd):f}",
            end_reason=str(stream.end_reason),
        )
    return MessageView(
        id=f"{said.stream_id}.{said.position}",
        stream_id=said.stream_id,
        created=said.created,
        complete=said.complete,
        message=msgspec.Raw(said.message.encode()),
        answer=answer,
    )


def _place(after: str) -> tuple[str, int] | None:
    if not after:
        return None
    match = _MESSAGE_ID.fullmatch(after)
    if match is None:
        raise BadRequestError("after must be the last_id of an earlier page", param="after")
    return match[1], int(match[2])


ROUTES = [
    (r"/v1/sessions", ConversationsHandler),
    (r"/v1/sessions/([^/]{1,128})/messages", MessagesHandler),
    (r"/v1/sessions/([^/]{1,128})/turns/([^/]{1,64})", TurnHandler),
]
