"""POST /v1/chat/completions: the way in that every OpenAI client knows."""

from __future__ import annotations

from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.wire.chat import parse_request


class ChatCompletionsHandler(AnsweringHandler):
    """Streamed or whole, in a session (``X-Session-Id``) or without."""

    async def post(self) -> None:
        request = parse_request(self.json_body)
        session_id = self.request.headers.get("X-Session-Id")
        await self.relay(self.order(request, endpoint="/v1/chat/completions", session_id=session_id))


ROUTES = [(r"/v1/chat/completions", ChatCompletionsHandler)]
