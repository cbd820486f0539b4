"""Who asks, and the page's own way in: name and password for a cookie that scripts cannot read."""

from __future__ import annotations

import msgspec

from streamproxy.domain.identity import Principal
from streamproxy.errors import PermissionDeniedError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.environment import from_own_page
from streamproxy.wire.admin import parse
from streamproxy.wire.sessions import PrincipalView, SignIn


class MeHandler(BaseHandler):
    """GET: the principal of the credential that was sent."""

    async def get(self) -> None:
        write_principal(self, self.principal)


class _OwnPageHandler(BaseHandler):
    """For the server's own page: another site must not sign its readers in or out."""

    public = True

    async def admit(self) -> None:
        if not from_own_page(self.request.headers, self.request.host):
            raise PermissionDeniedError("Only the server's own page signs in and out here.")


class SignInHandler(_OwnPageHandler):
    """POST: name and password in, the cookie and the principal out."""

    async def post(self) -> None:
        asked, environment = parse(self.json_body, SignIn), self.environment
        user = await environment.sign_ins.verify(
            asked.name, asked.password, address=self.request.remote_ip or "", request_id=self.request_id
        )
        days = environment.admin.bearer_days
        bearer = await environment.auth.issue_bearer(user, days=days)
        set_page_cookie(self, bearer, days=days)
        write_principal(self, Principal(user.id, user.name, user.role, "cookie", ""))


class SignOutHandler(_OwnPageHandler):
    """POST: the cookie's bearer opens nothing any more, and the cookie goes. Without a cookie nothing happens."""

    async def post(self) -> None:
        environment = self.environment
        morsel = self.request.cookies.get(environment.cookie)
        if morsel is not None:
            await environment.auth.revoke_bearer(morsel.value)
        self.clear_cookie(environment.cookie, path="/")
        self.write_json(msgspec.json.encode({"object": "principal.signed_out"}))


def set_page_cookie(handler: BaseHandler, bearer: str, *, days: float | None = None) -> None:
    """Give the page a *bearer* that scripts cannot read, for *days* or until the browser is closed."""
    secure = handler.request.protocol == "https"
    handler.set_cookie(
        handler.environment.cookie,
        bearer,
        expires_days=days,
        httponly=True,
        samesite="Strict",
        secure=secure,
        path="/",
    )


def write_principal(handler: BaseHandler, principal: Principal) -> None:
    view = PrincipalView(
        id=principal.id,
        name=principal.name,
        role=principal.role,
        credential=principal.credential,
        session_seconds=int(handler.environment.session_seconds),
    )
    handler.write_json(msgspec.json.encode(view))


ROUTES = [(r"/v1/me", MeHandler), (r"/signin", SignInHandler), (r"/signout", SignOutHandler)]
