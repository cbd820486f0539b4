"""/admin/users: accounts and their bearers, as the commands ``user`` and ``token`` do it."""

from __future__ import annotations

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User
from streamproxy.handlers.admin.base import ID, AdminHandler, unknown_cursor
from streamproxy.services.accounts import active
from streamproxy.services.userchanges import change_user
from streamproxy.wire.admin import BearerView, NewBearer, NewUser, RevokedBearersView, UserPatch, UserView, parse


class UsersHandler(AdminHandler):
    """The list, by name, and new accounts."""

    fields = frozenset({"limit", "after"})

    async def get(self) -> None:
        page, name = self.page(), ""
        if page.after:
            before = await self.environment.admin.users.by_id(page.after)
            if before is None:
                raise unknown_cursor()
            name = before.name
        found = await self.environment.admin.users.page(after=name, limit=page.fetch)
        self.write_page(page, [view(user) for user in found])

    async def post(self) -> None:
        new = parse(self.json_body, NewUser)
        user = await self.environment.auth.add_user(
            new.name,
            password=new.password,
            role=Role(new.role),
            openid=new.openid,
            email=new.email,
            questions=new.questions,
        )
        self.set_header("Location", f"/admin/users/{user.id}")
        self.write_view(view(user), status=201)


class UserHandler(AdminHandler):
    """One account."""

    async def get(self, user_id: str) -> None:
        self.write_view(view(await self.user(user_id)))

    async def patch(self, user_id: str) -> None:
        user, patch = await self.user(user_id), parse(self.json_body, UserPatch)
        await change_user(self.environment.auth, user, patch, by=self.principal)
        self.write_view(view(await self.user(user_id)))


class UserBearersHandler(AdminHandler):
    """The bearers of one account: a new one, or none any more."""

    async def post(self, user_id: str) -> None:
        user, new = active(await self.user(user_id)), parse(self.json_body, NewBearer)
        days = new.days or self.environment.admin.bearer_days
        bearer = await self.environment.auth.issue_bearer(user, days=days)
        self.write_view(BearerView(user_id=user.id, bearer=bearer), status=201)

    async def delete(self, user_id: str) -> None:
        user = await self.user(user_id)
        revoked = await self.environment.auth.revoke_bearers(user)
        self.write_view(RevokedBearersView(user_id=user.id, revoked=revoked))


def view(user: User) -> UserView:
    """*user* as admins see it: never the password's hash."""
    return UserView(
        id=user.id,
        name=user.name,
        role="admin" if user.role is Role.ADMIN else "user",
        disabled=user.disabled,
        openid=user.openid,
        email=user.email,
        questions=user.questions_left,
        has_password=user.password_hash is not None,
        created=user.created,
    )


ROUTES = [
    (r"/admin/users", UsersHandler),
    (rf"/admin/users/({ID})", UserHandler),
    (rf"/admin/users/({ID})/bearers", UserBearersHandler),
]
