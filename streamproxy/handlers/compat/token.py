"""POST /token, which two of the systems we replace have: the body's shape tells their requests apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streamproxy.errors import StreamProxyError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat.chatapi import ChatApiSignIn


class SignInShape(Protocol):
    """How one system asks for a token and is answered."""

    def recognises(self, kind: str, body: bytes) -> bool:
        """Whether this *body* of the media type *kind* is asked its way."""

    async def answer(self, handler: BaseHandler) -> tuple[int, bytes]:
        """Status and JSON for the request of *handler*, whose ``body`` it reads."""

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        """Status and JSON for *error*."""


# By family, in the order they are asked. What none recognises is answered by the last that is served.
SHAPES: Mapping[str, SignInShape] = {"chatapi": ChatApiSignIn()}


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
        return next((shape for shape in served if shape.recognises(self.body_kind, body)), served[-1])


ROUTES = [(r"/token", TokenHandler)]
