"""/admin/tokens: API tokens, as the command ``apitoken`` does it."""

from __future__ import annotations

import msgspec

from streamproxy.domain.ports import ApiToken
from streamproxy.errors import NotFoundError
from streamproxy.handlers.admin.base import ID, AdminHandler
from streamproxy.services.accounts import active
from streamproxy.wire.admin import ApiTokenView, IssuedApiTokenView, NewApiToken, parse


class TokensHandler(AdminHandler):
    """All API tokens in the order they were made, revoked ones included, and new ones."""

    fields = frozenset({"limit", "after", "user_id"})

    async def get(self) -> None:
        page = self.page()
        found = await self.environment.admin.credentials.api_tokens(
            self.id_field("user_id"), after=page.after, limit=page.fetch
        )
        self.write_page(page, [view(token) for token in found])

    async def post(self) -> None:
        new = parse(self.json_body, NewApiToken)
        user = await self.environment.admin.users.by_id(new.user_id)
        if user is None:
            raise NotFoundError("There is no user of this id.", code="user_not_found", param="user_id")
        text, token = await self.environment.auth.issue_api_token(active(user), label=new.label)
        shown = IssuedApiTokenView(**msgspec.structs.asdict(view(token)), token=text)
        self.write_view(shown, status=201)


class TokenHandler(AdminHandler):
    """One API token."""

    async def delete(self, token_id: str) -> None:
        if not await self.environment.auth.revoke_api_token(token_id):
            raise NotFoundError("There is no active API token of this id.", code="token_not_found")
        self.set_status(204)


def view(token: ApiToken) -> ApiTokenView:
    """*token* as it is kept."""
    return ApiTokenView(
        id=token.id,
        user_id=token.user_id,
        user_name=token.user_name,
        label=token.label,
        last4=token.last4,
        revoked=token.revoked,
        created=token.created,
    )


ROUTES = [(r"/admin/tokens", TokensHandler), (rf"/admin/tokens/({ID})", TokenHandler)]
