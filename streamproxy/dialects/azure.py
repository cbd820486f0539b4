"""The dialect of Azure OpenAI: OpenAI's bodies behind paths and a header of its own.

The base URL is the resource's (``https://NAME.openai.azure.com``). A model is a deployment and stands in the
path; the key goes into ``api-key``; every path needs an ``api-version``. Streams begin with a chunk that has no
choices but the content filter's results for the prompt, and may carry more of them later, all without an id:
the relay gives them the completion's. https://learn.microsoft.com/azure/ai-services/openai/reference
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from streamproxy.dialects import openai
from streamproxy.dialects.base import Call, Failure, Translator
from streamproxy.dialects.failures import Meaning, Rule, classify
from streamproxy.domain.quirks import NO_QUIRKS, Quirks
from streamproxy.wire.chat import ChatRequest, Message
from streamproxy.wire.plain import PlainRequest, encode_plain

# The last version that Microsoft calls generally available with a date for a name.
API_VERSION = "2024-10-21"

RULES: tuple[Rule, ...] = (
    # The resource's network does not let us in, or a role is missing: neither says that the key is wrong.
    Rule(Meaning.KEY_UNFIT, statuses={401, 403}, words={"PermissionDenied", "AccessDenied", "Forbidden", "403"}),
    # "Resource not found": base URL or api_version are wrong. A deployment that is not there has its own code.
    Rule(Meaning.OURS, statuses={404}, words={"404"}),
    Rule(Meaning.TOO_MANY, words={"RateLimitReached", "too_many_requests"}),
    *openai.RULES,
)


class AzureDialect(msgspec.Struct, frozen=True):
    """See the module."""

    quirks: Quirks = NO_QUIRKS

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        body = openai.chat_body(request, model=model, messages=messages, quirks=self.quirks)
        path = self._path(f"/deployments/{quote(model, safe='')}/chat/completions")
        return Call(path, {**openai.ACCEPTING[request.stream], **_api_key(secret)}, body)

    def plain(self, request: PlainRequest, *, model: str, secret: str) -> Call:
        path = self._path(f"/deployments/{quote(model, safe='')}{request.path}")
        body = encode_plain(request, model=model)
        return Call(path, {**openai.ACCEPTING[request.stream], **_api_key(secret)}, (body,))

    def models(self, *, secret: str) -> Call:
        return Call(self._path("/models"), {"Accept": "application/json", **_api_key(secret)}, None)

    def _path(self, rest: str) -> str:
        return f"/openai{rest}?api-version={quote(self.quirks.api_version or API_VERSION, safe='')}"

    def translator(self) -> Translator | None:
        return None

    def completion(self, body: bytes) -> bytes:
        return body

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return classify(RULES, status, headers, body)


def _api_key(secret: str) -> dict[str, str]:
    return {"api-key": secret} if secret else {}
