"""GET /dashboard/billing/subscription and /usage, under /v1 too: OpenAI's former billing pages.

NextChat reads ``hard_limit_usd`` and ``total_usage`` of the first form, chatgpt-web those of the second. Days are
UTC days; both dates belong to the range, because NextChat sends tomorrow as its end and chatgpt-web the month's last.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import msgspec

from streamproxy.domain.money import cents
from streamproxy.domain.ports import UsageSummary
from streamproxy.errors import BadRequestError
from streamproxy.handlers.base import BaseHandler

# Money is Decimal to the last byte: a JSON number, written as it is.
money_json = msgspec.json.Encoder(decimal_format="number")
LONGEST_RANGE = timedelta(days=366)
DEFAULT_RANGE = timedelta(days=99)
# What was granted here does not expire; clients show this field as a date.
ACCESS_UNTIL = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


class SubscriptionHandler(BaseHandler):
    """What was granted."""

    async def get(self) -> None:
        total = (await self.environment.billing.balance(self.principal.id)).total
        limits = dict.fromkeys(("soft_limit_usd", "hard_limit_usd", "system_hard_limit_usd"), total)
        answer = {"object": "billing_subscription", "has_payment_method": True, **limits, "access_until": ACCESS_UNTIL}
        self.write_json(money_json.encode(answer))


class UsageHandler(BaseHandler):
    """What it cost, in cents."""

    async def get(self) -> None:
        start, end = self._range()
        spent = await self.environment.billing.spent(
            self.principal.id, since=_midnight(start), until=_midnight(end + timedelta(days=1))
        )
        total = cents(sum(summary.cost_nano_usd for summary in spent))
        answer = {"object": "list", "daily_costs": _by_day(spent), "total_usage": total}
        self.write_json(money_json.encode(answer))

    def _range(self) -> tuple[date, date]:
        """First and last day; without dates the last hundred. BadRequestError names the date at fault."""
        end = self._date("end_date") or datetime.now(UTC).date()
        start = self._date("start_date") or end - DEFAULT_RANGE
        if not timedelta() <= end - start <= LONGEST_RANGE:
            raise BadRequestError("end_date must be 0 to 366 days after start_date", param="end_date")
        return start, end

    def _date(self, name: str) -> date | None:
        text = self.get_query_argument(name, "")
        try:
            found = datetime.strptime(text, "%Y-%m-%d").date() if text else None  # noqa: DTZ007 - a day has no zone
        except ValueError:
            found = date.min
        # Before the first stream of anybody and after the last of us: there the calendar itself ends.
        if found is not None and not 1970 <= found.year <= 9000:
            raise BadRequestError(f"{name} must be a day like 2025-01-31", param=name)
        return found


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _by_day(spent: Sequence[UsageSummary]) -> list[dict[str, object]]:
    return [
        {
            "timestamp": _midnight(date.fromisoformat(day)),
            "line_items": [{"name": s.model, "cost": cents(s.cost_nano_usd)} for s in summaries],
        }
        for day, summaries in groupby(spent, key=lambda summary: summary.day)
    ]


ROUTES = [
    (r"(?:/v1)?/dashboard/billing/subscription", SubscriptionHandler),
    (r"(?:/v1)?/dashboard/billing/usage", UsageHandler),
]
