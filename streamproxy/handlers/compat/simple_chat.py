"""The simple chat: /user/, /llm/message, /llm/message/advanced, /user/history/{n}, /user/status, /user/report.

Errors are FastAPI's shape, ``{"detail": text}``, with our ``code`` beside it, and what fails validation is 422, as
its callers know it. ``oauth2_answer`` is its half of ``POST /token``, which ChatAPI has too.
"""

from __future__ import annotations

import re

import msgspec
from msgspec.structs import replace

from streamproxy.domain.identity import Principal
from streamproxy.errors import (
    BadRequestError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    StreamProxyError,
)
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.features import SimpleChatFeature
from streamproxy.services.report import EMPTY_REPORT
from streamproxy.wire.body import decoded, model_name, text, typed
from streamproxy.wire.chat import ChatRequest, Message, new_request

MESSAGE = "/llm/message"
ADVANCED = "/llm/message/advanced"
MOST_ROWS = 200
# Longer ones are refused by the body's own bound before.
LONGEST_TEXT = 10_000_000
# In the answer of /user/report: what it holds was written by a model about words of strangers.
UNTRUSTED = "X-Untrusted-Content"
_ROWS = re.compile(r"[0-9]{1,9}")


class SimpleChatHandler(BaseHandler):
    """What all of them share: the shape of errors, and that nobody speaks for somebody else."""

    @property
    def simple_chat(self) -> SimpleChatFeature:
        return self.environment.simple_chat

    async def admit(self) -> None:
        await super().admit()
        if not self.public:
            check_own_name(self.principal, self.get_query_argument("username", None))

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        return status_of(error), error_body(error)


class UserHandler(SimpleChatHandler):
    """POST /user/: an account of one's own."""

    public = True

    async def post(self) -> None:
        if not self.simple_chat.registration:
            raise PermissionDeniedError("Accounts are made by the administrator here.", code="registration_closed")
        fields = decoded(self.json_body)
        name, email, password = (text(fields, field, most=LONGEST_TEXT) for field in ("username", "email", "password"))
        user = await self.environment.auth.add_user(name, password=password, email=email)
        self.write_json(msgspec.json.encode({"username": user.name, "email": user.email}))


class MessageHandler(SimpleChatHandler, AnsweringHandler):
    """POST /llm/message: one question, one answer, no context. Middle-out, but kept as it was asked."""

    endpoint = MESSAGE

    async def post(self) -> None:
        request = self._request()
        order = self.order(request, endpoint=self.endpoint, policy=self.simple_chat.policy)
        exchange = await self.answered(replace(order, fit=True))
        if exchange is None or exchange.said is None:
            return
        self.set_headers(self.answer_headers())
        answer = exchange.said.text
        self.write_json(msgspec.json.encode({"response": answer, "message": answer}))

    def _request(self) -> ChatRequest:
        fields = decoded(self.json_body)
        check_own_name(self.principal, typed(fields, "username", str, "a string"))
        question = text(fields, "message", most=LONGEST_TEXT)
        model = None if fields.get("model") is None else model_name(fields)
        messages = [*self.instructions(), {"role": "user", "content": question}]
        return new_request(model or self.simple_chat.model or self.environment.models.default(), messages)

    def instructions(self) -> list[Message]:
        """What stands before the question."""
        return []

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        status, body = super().error_answer(error)
        ours = isinstance(error, RateLimitError) and error.code in (RateLimitError.code, QuotaError.code)
        return self.simple_chat.limit_status if ours and self.simple_chat.limit_status else status, body


class AdvancedMessageHandler(MessageHandler):
    """POST /llm/message/advanced: the answer attends to the writer's feelings first."""

    endpoint = ADVANCED

    def instructions(self) -> list[Message]:
        return [{"role": "system", "content": self.simple_chat.advanced_prompt}]


class HistoryHandler(SimpleChatHandler):
    """GET /user/history/{n}: the newest n rows, oldest first."""

    async def get(self, rows: str) -> None:
        count = int(rows) if _ROWS.fullmatch(rows) else -1
        if not 0 <= count <= MOST_ROWS:
            raise BadRequestError(f"last_n must be an integer from 0 to {MOST_ROWS}", param="last_n")
        remarks = await self.simple_chat.remarks.newest(self.principal.id, count)
        self.write_json(msgspec.json.encode([{"type": remark.speaker, "text": remark.text} for remark in remarks]))


class StatusHandler(SimpleChatHandler):
    """GET /user/status: how many messages of today count."""

    async def get(self) -> None:
        count = await self.simple_chat.remarks.accepted_today(self.principal.id, (MESSAGE, ADVANCED))
        self.write_json(msgspec.json.encode({"username": self.principal.name, "chat_cnt": count}))


class ReportHandler(SimpleChatHandler, AnsweringHandler):
    """GET /user/report: untrusted Markdown by the model. It leaves no history of its own."""

    async def get(self) -> None:
        model = self.simple_chat.model or self.environment.models.default()
        request = await self.simple_chat.reports.request(self.principal.id, model)
        if request is None:
            self._write(EMPTY_REPORT)
            return
        order = self.order(request, endpoint="/user/report")
        exchange = await self.answered(replace(order, fit=True, lasting=False))
        if exchange is not None and exchange.said is not None:
            self.set_headers(self.answer_headers())
            self._write(exchange.said.text)

    def _write(self, report: str) -> None:
        self.set_header(UNTRUSTED, 'message; type="text/markdown"')
        self.write_json(msgspec.json.encode({"message": report}))


async def oauth2_answer(handler: BaseHandler, username: str, password: str) -> bytes:
    """The body of a good answer to the OAuth2 password form (RFC 6749, 4.3); AuthenticationError for a wrong one."""
    environment = handler.environment
    user = await environment.sign_ins.verify(
        username, password, address=str(handler.request.remote_ip), request_id=handler.request_id
    )
    bearer = await environment.auth.issue_bearer(user, days=environment.simple_chat.token_days)
    return msgspec.json.encode({"access_token": bearer, "token_type": "bearer"})


def check_own_name(principal: Principal, claimed: str | None) -> None:
    """PermissionDeniedError when *claimed* is another user's name: who somebody is, their credential says."""
    if claimed is not None and claimed != principal.name:
        raise PermissionDeniedError("This is not the name of the user whose credential was sent.", code="other_user")


def status_of(error: StreamProxyError) -> int:
    """The status under which callers of the simple chat know *error*: FastAPI says 422 where we say 400."""
    return 422 if type(error) is BadRequestError else error.status


def error_body(error: StreamProxyError) -> bytes:
    """*error* in FastAPI's shape."""
    return msgspec.json.encode({"detail": error.message, "code": error.code})


ROUTES = [
    (r"/user/?", UserHandler),
    (MESSAGE, MessageHandler),
    (ADVANCED, AdvancedMessageHandler),
    (r"/user/history/([^/]*)", HistoryHandler),
    (r"/user/status", StatusHandler),
    (r"/user/report", ReportHandler),
]
