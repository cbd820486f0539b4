"""POST /pro/chat/completions and GET /pro/balance.

Every answer is ``{"code", "message", "data"}``, errors too, with ``data`` null and ``code`` the HTTP status. A stream
is family A's. The query string, which may hold an apiKey, is in no log line (see handlers.base).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from streamproxy.errors import AuthenticationError, StreamProxyError
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.billing import money_json
from streamproxy.services.pro import Caller, session_of
from streamproxy.wire.body import decoded, text, typed
from streamproxy.wire.chat import new_request

DONE = "执行成功"
LONGEST_SESSION = 64
LONGEST_CONTENT = 1000


class ProHandler(BaseHandler):
    """What both share: who calls may also stand in an apiKey, so the credential is looked at by the method."""

    public = True

    async def caller(self, api_key: str | None) -> Caller:
        """Who calls; AuthenticationError when nobody we know."""
        caller = await self.environment.pro.access.caller(self.request.headers.get("Authorization"), api_key)
        self.principal = caller.principal
        return caller

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        return error.status, msgspec.json.encode({"code": error.status, "message": error.message, "data": None})


class ProChatHandler(ProHandler, AnsweringHandler):
    """One question in a session of the caller's."""

    async def post(self) -> None:
        fields = decoded(self.json_body)
        caller = await self.caller(typed(fields, "apiKey", str, "a string"))
        session = session_of(text(fields, "sessionId", most=LONGEST_SESSION))
        content = text(fields, "content", most=LONGEST_CONTENT)
        stream = bool(typed(fields, "stream", bool, "a boolean"))
        model = self.environment.pro.model or self.environment.models.default()
        request = new_request(model, [{"role": "user", "content": content}], stream=stream)
        order = self.order(request, endpoint="/pro/chat/completions")
        order = replace(order, session_id=session, own_key=caller.own_key)
        if stream:
            await self.relay(order)
            return
        exchange = await self.answered(order)
        if exchange is not None and exchange.said is not None:
            self.set_headers(self.answer_headers())
            self.write_json(msgspec.json.encode({"code": 200, "message": DONE, "data": exchange.said.text}))

    def answer_headers(self) -> Mapping[str, str]:
        # How the session is called inside means nothing to the caller, who gave it another name.
        return {name: value for name, value in super().answer_headers().items() if name != "X-Session-Id"}


class ProBalanceHandler(ProHandler):
    """What was granted, used in the last 100 days, and is left, in USD."""

    async def get(self) -> None:
        caller = await self.caller(self.get_query_argument("apiKey", None))
        if caller.own_key is not None:
            raise AuthenticationError("Only the provider of this key knows its balance.")
        balance = await self.environment.billing.balance(caller.principal.id)
        data = {"total": balance.total, "balance": balance.balance, "used": balance.used}
        self.write_json(money_json.encode({"code": 200, "message": DONE, "data": data}))


ROUTES = [(r"/pro/chat/completions", ProChatHandler), (r"/pro/balance", ProBalanceHandler)]
