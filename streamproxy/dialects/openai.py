"""The dialect of OpenAI and of everything that calls itself OpenAI-compatible.

https://platform.openai.com/docs/guides/error-codes, https://openrouter.ai/docs/api/reference/errors-and-debugging
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamproxy.dialects.base import Call, Failure, Translator
from streamproxy.dialects.failures import Meaning, Rule, classify
from streamproxy.domain.quirks import NO_QUIRKS, Quirks
from streamproxy.wire.chat import ChatRequest, Message, encode_request
from streamproxy.wire.plain import PlainRequest, encode_plain

# The header fields that say what goes and what is to come, by whether that is a stream.
ACCEPTING: Mapping[bool, Mapping[str, str]] = {
    True: {"Content-Type": "application/json", "Accept": "text/event-stream"},
    False: {"Content-Type": "application/json", "Accept": "application/json"},
}

_MAX_TOKENS = ("max_completion_tokens", "max_tokens")

RULES: tuple[Rule, ...] = (
    Rule(Meaning.KEY_DEAD, words={"invalid_api_key", "account_deactivated", "account_terminated"}),
    Rule(Meaning.NO_MONEY, words={"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"}),
    # DeepSeek: Insufficient Balance. OpenRouter: insufficient credits.
    Rule(Meaning.NO_MONEY, statuses={402}),
    Rule(Meaning.CALLERS_FAULT, words={"context_length_exceeded", "content_filter", "content_policy_violation"}),
    Rule(Meaning.TOO_MANY, words={"rate_limit_exceeded"}),
    Rule(Meaning.TOO_MANY, statuses={429}),
    Rule(Meaning.KEY_DEAD, statuses={401}),
    # A region or a model that this key has no permission for: it is not dead.
    Rule(Meaning.KEY_UNFIT, statuses={403}),
    Rule(Meaning.CALLERS_FAULT, statuses={400, 404, 405, 413, 415, 422}),
    Rule(Meaning.CALLERS_FAULT, statuses={200}, words={"invalid_request_error", "BadRequestError"}),
    Rule(Meaning.OVERLOADED, statuses={529}),
    Rule(Meaning.OURS, statuses=range(300, 500)),
    Rule(Meaning.BROKEN),
)


class OpenAIDialect(msgspec.Struct, frozen=True):
    """Requests as they are but for the quirks, events as they are, errors by status and code."""

    quirks: Quirks = NO_QUIRKS

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        body = chat_body(request, model=model, messages=messages, quirks=self.quirks)
        return Call("/chat/completions", {**ACCEPTING[request.stream], **_bearer(secret)}, body)

    def plain(self, request: PlainRequest, *, model: str, secret: str) -> Call:
        body = encode_plain(request, model=model)
        return Call(request.path, {**ACCEPTING[request.stream], **_bearer(secret)}, (body,))

    def models(self, *, secret: str) -> Call:
        return Call("/models", {"Accept": "application/json", **_bearer(secret)}, None)

    def translator(self) -> Translator | None:
        return None

    def completion(self, body: bytes) -> bytes:
        return body

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return classify(RULES, status, headers, body)


def chat_body(request: ChatRequest, *, model: str, messages: Sequence[Message], quirks: Quirks) -> tuple[bytes, ...]:
    """The request's JSON with what *quirks* want changed, in pieces."""
    if quirks.drop_fields or quirks.max_tokens_field or not quirks.send_stream_options:
        request = _without_what_is_refused(request, quirks)
    return encode_request(request, model=model, messages=messages, ask_usage=quirks.send_stream_options)


def _without_what_is_refused(request: ChatRequest, quirks: Quirks) -> ChatRequest:
    refused = {*quirks.drop_fields} if quirks.send_stream_options else {*quirks.drop_fields, "stream_options"}
    fields = {name: value for name, value in request.fields.items() if name not in refused}
    if quirks.max_tokens_field:
        bounds = [bound for name in _MAX_TOKENS if (bound := fields.pop(name, None)) is not None]
        if bounds:
            fields[quirks.max_tokens_field] = bounds[0]
    return msgspec.structs.replace(request, fields=fields)


def _bearer(secret: str) -> dict[str, str]:
    """Nothing where there is no key: a model on this machine wants none."""
    return {"Authorization": f"Bearer {secret}"} if secret else {}
