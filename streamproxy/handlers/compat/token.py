"""POST /token, which two of the systems we replace have: the body's shape tells their requests apart.

JSON ``{"u", "p"}`` is ChatAPI's; the OAuth2 password form, or JSON with ``username`` or ``password``, is the simple
chat's. JSON counts whatever it is announced as: curl calls everything a form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qs

from streamproxy.errors import AuthenticationError, StreamProxyError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat.chatapi import ChatApiSignIn, json_fields
from streamproxy.handlers.compat.simple_chat import error_body, oauth2_answer, status_of

FORM = "application/x-www-form-urlencoded"
# RFC 6749, 4.3.2 sends five fields; what has many more is no form of ours.
MOST_FORM_FIELDS = 20


class SignInShape(Protocol):
    """How one system asks for a token and is answered."""

    def recognises(self, kind: str, body: bytes) -> bool:
        """Whether *body*, announced as the media type *kind*, asks its way."""

    async def answer(self, handler: BaseHandler) -> tuple[int, bytes]:
        """Status and JSON for the request of *handler*, whose ``body`` it reads."""

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        """Status and JSON for *error*."""


class SimpleChatSignIn:
    """The simple chat's way: ``username`` and ``password``, as a form or as JSON."""

    def recognises(self, kind: str, body: bytes) -> bool:
        return kind == FORM or not {"username", "password"}.isdisjoint(json_fields(body))

    async def answer(self, handler: BaseHandler) -> tuple[int, bytes]:
        fields = json_fields(handler.body) or _form_fields(handler.body)
        name, password = fields.get("username"), fields.get("password")
        if not isinstance(name, str) or not isinstance(password, str):
            raise AuthenticationError("Wrong name or password.", code="invalid_credentials")
        return 200, await oauth2_answer(handler, name, password)

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        return status_of(error), error_body(error)


# By family, in the order they are asked. What none recognises is refused by the first that is served.
SHAPES: Mapping[str, SignInShape] = {"chatapi": ChatApiSignIn(), "simple_chat": SimpleChatSignIn()}


class TokenHandler(BaseHandler):
    """Name and password in, a token out."""

    public = True

    async def post(self) -> None:
        status, body = await self._shape().answer(self)
        self.write_json(body, status=status)

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        return self._shape().error_answer(error)

    def _shape(self) -> SignInShape:
        served = [shape for family, shape in SHAPES.items() if family in self.environment.families]
        body = bytes(self._body)
        return next((shape for shape in served if shape.recognises(self.body_kind, body)), served[0])


def _form_fields(body: bytes) -> dict[str, str]:
    """The fields of an urlencoded form; empty when it is none."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FORM_FIELDS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


ROUTES = [(r"/token", TokenHandler)]
