"""POST /message, the backend of a chat program for one question at a time (CONTRACTS C1).

The body of an error says little on purpose: its callers show ``errinfo`` to people. The honest status says the
rest, unless ``compat.message_status`` restores the 200 that the original gave to every error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from streamproxy.domain.streams import EndReason
from streamproxy.errors import (
    BadRequestError,
    NoKeyAvailableError,
    StreamProxyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamTimeoutError,
)
from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.handlers.compat.asking import question
from streamproxy.handlers.compat.faults import is_upstream_fault
from streamproxy.services.exchange import Exchange
from streamproxy.services.failover import CallFailedError
from streamproxy.services.order import Interruption, Order
from streamproxy.wire.body import decoded, text, typed

NO_KEY = "服务器快冒烟了,等会再试"
NO_KEY_AND_NO_WORD = "服务器快Boom了,先缓一缓"
UPSTREAM_FAILED = "官方请求错误,稍后再试"
FAILED = "openai官方请求错误,请稍后重试"
USED_UP = "次数已用完"

# Longer ones are refused by the body's own bound before.
LONGEST_TEXT: Final = 10_000_000
LONGEST_OPENID: Final = 128
_CONVERSATION_ID = re.compile(r"[\x21-\x7e]{1,64}")
# No X-Session-Id has a slash: conversations and the sessions of other ways in never meet.
_SESSION_PREFIX = "message/"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller sends. *msgcache* of the original is ignored: the context is the session's."""

    text: str
    openid: str
    conversation: str | None


class MessageHandler(AnsweringHandler):
    """One question, one answer, and how many questions are left."""

    async def admit(self) -> None:
        if not self.environment.message.trust_openid:
            await super().admit()

    async def post(self) -> None:
        asked = parse_question(self.json_body)
        questions = self.environment.message.questions
        self.principal = await questions.asker(asked.openid, claimed_by=getattr(self, "principal", None))
        async with questions.reserved(self.principal, self.request_id) as reserved:
            exchange = await self._answered_in_time(self._order(asked))
            if exchange is None:
                return
            left = await reserved.answered()
        self.set_headers(self.answer_headers())
        self.write_json(msgspec.json.encode(await _answer(exchange, left)))

    def _order(self, asked: Asked) -> Order:
        feature = self.environment.message
        model = feature.model or self.environment.models.default()
        request = question(asked.text, model=model, reply_tokens=feature.max_tokens, temperature=feature.temperature)
        order = self.order(request, endpoint="/message")
        session_id = None if asked.conversation is None else _SESSION_PREFIX + asked.conversation
        return replace(order, session_id=session_id)

    async def _answered_in_time(self, order: Order) -> Exchange | None:
        timer = asyncio.get_running_loop().call_later(self.environment.message.seconds, self._out_of_time)
        try:
            return await self.answered(order)
        finally:
            timer.cancel()

    def _out_of_time(self) -> None:
        if self.exchange is not None:
            error = UpstreamTimeoutError("the answer took too long", code="upstream_total_timeout")
            self.exchange.interrupt(Interruption(EndReason.UPSTREAM_ERROR, error))

    def answer_headers(self) -> Mapping[str, str]:
        """Without the session's id: callers know their conversation by their own."""
        return {name: value for name, value in super().answer_headers().items() if name != "X-Session-Id"}

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        body = {"adj": "接口执行错误", "code": 444, "errinfo": _errinfo(error)}
        return self.environment.message.error_status or _status(error), msgspec.json.encode(body)


async def _answer(exchange: Exchange, left: int) -> dict[str, Any]:
    """The upstream's whole object, its choices as those of a text completion."""
    said = exchange.said
    answer = "" if said is None else said.text or said.refusal
    upstreams = msgspec.json.decode(await exchange.body())
    return {"resmsg": {**upstreams, "choices": [{"text": answer}]}, "num": left, "code": 200}


def parse_question(body: bytes) -> Asked:
    """Read the request; BadRequestError names the field at fault in ``param``."""
    fields = decoded(body)
    conversation = typed(fields, "conversationid", str, "a string")
    if conversation is not None and _CONVERSATION_ID.fullmatch(conversation) is None:
        raise BadRequestError("conversationid must be 1 to 64 visible ASCII characters", param="conversationid")
    asked = text(fields, "msg", most=LONGEST_TEXT)
    return Asked(asked, text(fields, "openid", most=LONGEST_OPENID), conversation)


def _errinfo(error: StreamProxyError) -> str:
    if error.code == "questions_used_up":
        return USED_UP
    # An empty pool: its keys are refused, out of quota, or resting. This request may just have lost it the last one.
    lost = error.__cause__.failure.error if isinstance(error.__cause__, CallFailedError) else None
    refused = lost if isinstance(error, NoKeyAvailableError) else error
    if isinstance(refused, UpstreamKeyError) and not refused.explained:
        return NO_KEY_AND_NO_WORD
    if isinstance(error, UpstreamKeyError | NoKeyAvailableError):
        return NO_KEY
    return UPSTREAM_FAILED if is_upstream_fault(error) else FAILED


def _status(error: StreamProxyError) -> int:
    """The error's own; 503 where the fault is not the caller's, though elsewhere its status says so."""
    if is_upstream_fault(error) and not isinstance(error, UpstreamError):
        return 503
    return error.status


ROUTES = [(r"/message", MessageHandler)]
