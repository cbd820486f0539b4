"""What an admin may change about an account, checked and made ready for the store."""

from __future__ import annotations

from msgspec import UNSET

from streamproxy.domain.identity import Principal, Role
from streamproxy.domain.ports import User, UserChanges
from streamproxy.errors import PermissionDeniedError
from streamproxy.services.accounts import checked_questions
from streamproxy.services.auth import Authenticator
from streamproxy.wire.admin import UserPatch


async def change_user(auth: Authenticator, user: User, patch: UserPatch, *, by: Principal) -> None:
    """Apply *patch* to *user*, all of it or nothing. PermissionDeniedError for an end of one's own rights."""
    changes: UserChanges = {}
    if patch.disabled is not UNSET:
        changes["disabled"] = patch.disabled
    if patch.role is not UNSET:
        changes["role"] = Role(patch.role)
    if patch.questions is not UNSET:
        changes["questions_left"] = None if patch.questions is None else checked_questions(patch.questions)
    _refuse_own_end(changes, user, by)
    if patch.password is not UNSET:
        changes["password_hash"] = await auth.hash_password(patch.password)
    await auth.change(user, changes)


def _refuse_own_end(changes: UserChanges, user: User, by: Principal) -> None:
    """Nobody locks themselves out: the last admin could not be let in again by anybody."""
    if user.id != by.id:
        return
    if changes.get("disabled"):
        raise PermissionDeniedError("You cannot disable your own account.", code="own_account", param="disabled")
    if changes.get("role", Role.ADMIN) is not Role.ADMIN:
        raise PermissionDeniedError("You cannot give up your own role of admin.", code="own_account", param="role")
