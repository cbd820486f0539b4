"""The chat page at ``/``, the operator's at ``/admin/ui``, and their files; the policy lets nothing else in."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from functools import cache

from streamproxy.errors import AuthenticationError, NotFoundError
from streamproxy.handlers.account import set_page_cookie
from streamproxy.handlers.base import BaseHandler

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class PageHandler(BaseHandler):
    """Sends the page's files. Where guests may chat, the page signs them in with a cookie of their own."""

    public = True

    async def get(self, name: str = "") -> None:
        await self.send(name or "index.html")

    async def send(self, name: str) -> None:
        """The file *name*; NotFoundError when there is none."""
        files = page_files()
        if name not in files:
            raise NotFoundError("There is nothing at this path.")
        if name == "index.html" and self.environment.guest:
            await self._welcome_guest()
        self.set_header("Content-Type", f"{_KINDS[name.rpartition('.')[2]]}; charset=utf-8")
        self.set_header("Content-Security-Policy", _POLICY)
        self.write(files[name])

    async def _welcome_guest(self) -> None:
        environment = self.environment
        try:
            cookie = environment.bearer_in_cookie(self.request)
            await environment.auth.authenticate(self.sent.get("Authorization"), cookie=cookie)
        except AuthenticationError:
            set_page_cookie(self, await environment.auth.issue_guest())


class OperatorPageHandler(PageHandler):
    """The operator's page. Anybody may have it: what it shows, the admin API shows to admins only."""

    async def get(self, name: str = "operator.html") -> None:
        await self.send(name)


@cache
def page_files() -> Mapping[str, bytes]:
    """The page's files by name, read once."""
    folder = importlib.resources.files("streamproxy") / "static"
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name.rpartition(".")[2] in _KINDS}


ROUTES = [(r"/", PageHandler), (r"/admin/ui", OperatorPageHandler), (r"/static/([a-z0-9.-]+)", PageHandler)]
