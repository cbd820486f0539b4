"""What the handlers are given: plain values and the services they call."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tornado.httputil import HTTPHeaders, HTTPServerRequest

from streamproxy.domain.ports import Conversations, Pingable
from streamproxy.domain.tracing import Tracer
from streamproxy.handlers.cors import Cors
from streamproxy.handlers.features import ChatApiFeature, MessageFeature, ProFeature, SimpleChatFeature
from streamproxy.handlers.oldproxy import OldProxyCheck
from streamproxy.metrics import Metrics
from streamproxy.services.administration import Administration
from streamproxy.services.auth import Authenticator
from streamproxy.services.billing import Billing
from streamproxy.services.chat import ChatService
from streamproxy.services.models import ModelList
from streamproxy.services.sessions import Sessions
from streamproxy.services.signins import SignIns
from streamproxy.services.streams import StreamService
from streamproxy.services.tickets import Tickets


@dataclass(frozen=True, slots=True)
class Dependency:
    """A store that readiness looks at; without a *required* one the worker takes no new requests."""

    name: str
    store: Pingable
    required: bool


@dataclass(slots=True)
class Environment:
    """One worker's services, as the handlers see them. Seconds and bytes as named."""

    auth: Authenticator
    chat: ChatService
    models: ModelList
    admin: Administration
    cors: Cors
    dependencies: Sequence[Dependency]
    metrics: Metrics
    tracer: Tracer
    cookie: str
    guest: bool
    max_body_bytes: int
    default_image_model: str
    heartbeat_seconds: float
    open_after_seconds: float
    families: Collection[str]
    sign_ins: SignIns
    message: MessageFeature
    chatapi: ChatApiFeature
    simple_chat: SimpleChatFeature
    pro: ProFeature
    billing: Billing
    streams: StreamService
    tickets: Tickets
    sessions: Sessions
    conversations: Conversations
    session_seconds: float
    stream_seconds: float
    cancel_when_left: bool
    shortcuts: bool
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    old_proxy: OldProxyCheck = field(default_factory=OldProxyCheck)

    def bearer_in_cookie(self, request: HTTPServerRequest) -> str | None:
        """What our own page has sent with *request*; None where there is none, or another page sent it."""
        cookies = request.cookies
        if self.cookie in cookies and from_own_page(request.headers, request.host):
            return cookies[self.cookie].value
        return None


def from_own_page(headers: HTTPHeaders, host: str) -> bool:
    """Whether a browser says that our own page sent this: else a cookie proves nothing (CSRF).

    https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header; without it (plain HTTP on another host than
    localhost) the Origin field decides, which every browser sends with a POST.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("Origin")
    return origin is None or origin.partition("://")[2] == host
