"""What the systems we replace need beside the common services, one value each."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from streamproxy.services.chatapi_tokens import ChatApiTokens
from streamproxy.services.order import EndpointPolicy
from streamproxy.services.pro import ProAccess
from streamproxy.services.questions import Questions
from streamproxy.services.remarks import Remarks
from streamproxy.services.report import Reports


@dataclass(frozen=True, slots=True)
class MessageFeature:
    """POST /message. *model* is None for the default one, *error_status* replaces every error's own status.

    *seconds* bound one answer.
    """

    questions: Questions
    model: str | None
    temperature: float
    max_tokens: int
    seconds: float
    trust_openid: bool
    error_status: int | None


@dataclass(frozen=True, slots=True)
class ChatApiFeature:
    """ChatAPI. *model* is None for the default one, *daily* limits the answers a day.

    *zone* is the one its times are told in.
    """

    tokens: ChatApiTokens
    model: str | None
    longest_query: int
    daily: EndpointPolicy
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class SimpleChatFeature:
    """The simple chat. *policy* are the limits that both message paths share, *limit_status* replaces 429 there.

    *model* is asked when a request names none, None for the model list's own choice. *registration*: whether anybody
    may make an account. *advanced_prompt* is the system message of the advanced path.
    """

    policy: EndpointPolicy
    limit_status: int | None
    model: str | None
    registration: bool
    advanced_prompt: str
    token_days: float
    remarks: Remarks
    reports: Reports


@dataclass(frozen=True, slots=True)
class ProFeature:
    """``/pro``. *model* answers, None for the model list's own choice."""

    access: ProAccess
    model: str | None
