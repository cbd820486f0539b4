"""ChatAPI: GET /api?q=, and how its callers ask for a token at POST /token (CONTRACTS C2).

The flag in its answers is spelled ``statu``. A refused credential is told in ``msg``, as the library that the
original used did it; everything else in ``message``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from streamproxy.errors import (
    AuthenticationError,
    BadRequestError,
    RateLimitError,
    StreamProxyError,
)
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat.asking import question
from streamproxy.handlers.compat.faults import is_upstream_fault
from streamproxy.services.chatapi_tokens import UNKNOWN_TOKEN
from streamproxy.wire.body import decoded

LIMIT_REACHED = "Token access limit reached."
WRONG = "Invalid username or password"


class ApiHandler(AnsweringHandler):
    """One question, one answer, no context. Only answers count towards the day's limit."""

    async def admit(self) -> None:
        self.principal = await self.environment.chatapi.tokens.authenticate(self.request.headers.get("Authorization"))

    async def get(self) -> None:
        feature = self.environment.chatapi
        request = question(self._query(), model=feature.model or self.environment.models.default())
        exchange = await self.answered(self.order(request, endpoint="/api", policy=feature.daily))
        if exchange is None:
            return
        said = exchange.said
        self.set_headers(self.answer_headers())
        self.write_json(_message("" if said is None else said.text or said.refusal, ok=True))

    def _query(self) -> str:
        longest = self.environment.chatapi.longest_query
        text = self.get_query_argument("q", "", strip=False)
        if not text.strip() or len(text) > longest:
            raise BadRequestError(f"q is required: 1 to {longest} characters", param="q")
        return text

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        if isinstance(error, AuthenticationError) and error.code != UNKNOWN_TOKEN:
            return 401, msgspec.json.encode({"msg": error.message})
        if is_upstream_fault(error):
            return 502, _message(error.message)
        return error.status, _message(LIMIT_REACHED if isinstance(error, RateLimitError) else error.message)


class ChatApiSignIn:
    """ChatAPI's way to ask for a token: JSON ``{"u", "p"}``. What is no such thing is wrong, and said to be."""

    def recognises(self, _kind: str, body: bytes) -> bool:
        return not {"u", "p"}.isdisjoint(json_fields(body))

    async def answer(self, handler: BaseHandler) -> tuple[int, bytes]:
        """201 with a new token, 200 with the live one."""
        fields, environment = json_fields(handler.body), handler.environment
        name, password = fields.get("u"), fields.get("p")
        if not isinstance(name, str) or not isinstance(password, str):
            raise AuthenticationError(WRONG, code="invalid_credentials")
        user = await environment.sign_ins.verify(
            name, password, address=str(handler.request.remote_ip), request_id=handler.request_id
        )
        token = await environment.chatapi.tokens.issue(user)
        expires = datetime.fromtimestamp(token.expires, environment.chatapi.zone)
        message = {
            "username": user.name,
            "token": token.text,
            "expiration_time": expires.strftime("%Y-%m-%d %H:%M:%S"),
        }
        return 201 if token.new else 200, _message(message, ok=True)

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        return error.status, _message(WRONG if isinstance(error, AuthenticationError) else error.message)


def _message(message: object, *, ok: bool = False) -> bytes:
    return msgspec.json.encode({"statu": ok, "message": message})


def json_fields(body: bytes) -> dict[str, Any]:
    """The JSON object in *body*, empty when there is none."""
    try:
        return decoded(body)
    except BadRequestError:
        return {}


ROUTES = [(r"/api", ApiHandler)]
