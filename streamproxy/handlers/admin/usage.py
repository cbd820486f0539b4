"""/admin/usage: who consumed what, by UTC day, user and model, as the command ``usage`` counts it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from streamproxy.domain.money import usd
from streamproxy.domain.ports import UserUsage
from streamproxy.errors import BadRequestError
from streamproxy.handlers.admin.base import AdminHandler, unknown_cursor
from streamproxy.wire.admin import UsageView

DAYS = 30
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EPOCH = date(1970, 1, 1)


class UsageHandler(AdminHandler):
    """From one day to another, both included; the last 30 days when nothing else is asked for."""

    fields = frozenset({"limit", "after", "from", "to", "user_id"})

    async def get(self) -> None:
        page = self.page()
        last = self._day("to", default=int(self.environment.admin.clock() // 86_400))
        first = self._day("from", default=last - DAYS + 1)
        found = await self.environment.admin.usage.page(
            first_day=first,
            last_day=last,
            user_id=self.id_field("user_id"),
            after=_place(page.after) if page.after else None,
            limit=page.fetch,
        )
        self.write_page(page, [view(row) for row in found])

    def _day(self, name: str, *, default: int) -> int:
        text = self.field(name)
        if text is None:
            return default
        try:
            return _days(text)
        except ValueError:
            raise BadRequestError(f"{name} must be a day like 2026-01-31", param=name) from None


def view(row: UserUsage) -> UsageView:
    """*row*, with an id that is its place in the list."""
    summary = row.summary
    return UsageView(
        id=f"{summary.day}:{row.user_id}:{summary.model}",
        day=summary.day,
        user_id=row.user_id,
        user_name=row.user_name,
        model=summary.model,
        streams=summary.streams,
        prompt_tokens=summary.prompt_tokens,
        completion_tokens=summary.completion_tokens,
        estimated_streams=summary.estimated_streams,
        cost_usd=f"{usd(summary.cost_nano_usd):f}",
    )


def _place(after: str) -> tuple[int, str, str]:
    try:
        day, user_id, model = after.split(":", 2)
        return _days(day), user_id, model
    except ValueError:
        raise unknown_cursor() from None


def _days(text: str) -> int:
    """UTC days since 1970; ValueError for what is no day."""
    if _DAY.fullmatch(text) is None:
        raise ValueError(text)
    return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date() - _EPOCH).days


ROUTES = [(r"/admin/usage", UsageHandler)]
