"""GET /openapi.json, the document of what this server serves, and GET /docs, the same to be read."""

from __future__ import annotations

from re import Pattern

import msgspec
from tornado.routing import PathMatches

from streamproxy.handlers.base import BaseHandler
from streamproxy.openapi import document
from streamproxy.openapi.operation import Json
from streamproxy.openapi.page import page

# The page has no scripts and no forms.
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class OpenApiHandler(BaseHandler):
    """The document as JSON."""

    public = True

    async def get(self) -> None:
        self.write_json(msgspec.json.encode(self.document()))

    def document(self) -> Json:
        """With the operations that have a route here: families can be switched off."""
        patterns = self._patterns()
        return document(cookie=self.environment.cookie, served=lambda path: any(p.match(path) for p in patterns))

    def _patterns(self) -> list[Pattern[str]]:
        matchers = [rule.matcher for rule in self.application.wildcard_router.rules]
        return [matcher.regex for matcher in matchers if isinstance(matcher, PathMatches)]


class DocsHandler(OpenApiHandler):
    """The document as a page."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.write(page(self.document()))


ROUTES = [(r"/openapi\.json", OpenApiHandler), (r"/docs", DocsHandler)]
