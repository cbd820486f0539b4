"""What all admin handlers share: the role, and who an id names."""

from __future__ import annotations

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User
from streamproxy.errors import NotFoundError, PermissionDeniedError
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.paging import ID, PagedHandler, unknown_cursor

__all__ = ["ID", "AdminHandler", "unknown_cursor"]


class AdminHandler(PagedHandler):
    """For admins only."""

    async def admit(self) -> None:
        await BaseHandler.admit(self)
        # Whoever is no admin learns nothing of what the path knows.
        if self.principal.role is not Role.ADMIN:
            raise PermissionDeniedError("This needs the role admin.")
        self.check_fields()

    async def user(self, user_id: str) -> User:
        """The account *user_id*; NotFoundError when there is none."""
        user = await self.environment.admin.users.by_id(user_id)
        if user is None:
            raise NotFoundError("There is no user of this id.", code="user_not_found")
        return user
