"""What the systems we replace need beside the common services, one value each."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.services.order import EndpointPolicy
from streamproxy.services.questions import Questions


@dataclass(frozen=True, slots=True)
class MessageFeature:
    """POST /message. *error_status* replaces every error's own status; *seconds* bound one answer."""

    questions: Questions
    model: str
    temperature: float
    max_tokens: int
    seconds: float
    trust_openid: bool
    error_status: int | None


@dataclass(frozen=True, slots=True)
class ChatApiFeature:
    """ChatAPI. *daily* limits the answers a day; *zone* is the one its times are told in."""

    tokens: ChatApiTokens
    model: str
    longest_query: int
    daily: EndpointPolicy
    zone: ZoneInfo
