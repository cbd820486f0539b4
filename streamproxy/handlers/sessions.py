"""GET and DELETE /v1/sessions/{id}: what a conversation holds, and forgetting it."""

from __future__ import annotations

import msgspec

from streamproxy.domain.sessions import SessionRef, checked_session_id
from streamproxy.errors import NotFoundError
from streamproxy.handlers.base import BaseHandler


class SessionHandler(BaseHandler):
    """One session of the principal's."""

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


ROUTES = [(r"/v1/sessions/([^/]{1,128})", SessionHandler)]
