"""Money: what an account was granted and what it used, from the usage rows, exact to the nano-USD."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from streamproxy.domain.money import Balance, rounded_usd
from streamproxy.domain.ports import GrantStore, Ledger, UsageSummary

DAY_SECONDS = 86_400
# CONTRACTS C4: what was used is what the last 100 days cost.
BALANCE_DAYS = 100


class Billing:
    """Reads accounts and credits them. *clock* gives epoch seconds. StoreUnavailableError when SQL does not answer."""

    def __init__(self, ledger: Ledger, grants: GrantStore, *, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._grants = grants
        self._clock = clock

    async def balance(self, user_id: str) -> Balance:
        """Granted, used in the last 100 days, and what is left of it; nothing of either for somebody unknown."""
        since = self._clock() - BALANCE_DAYS * DAY_SECONDS
        spent = await self._ledger.usage_by_day(user_id, since=since)
        total = rounded_usd(await self._grants.total(user_id))
        return Balance(total, rounded_usd(sum(summary.cost_nano_usd for summary in spent)))

    async def spent(self, user_id: str, *, since: float, until: float) -> Sequence[UsageSummary]:
        """What was used from *since* to before *until* (epoch seconds), by UTC day and model."""
        return await self._ledger.usage_by_day(user_id, since=since, until=until)

    async def grant(self, user_id: str, nano_usd: int) -> None:
        """Credit the account with *nano_usd*; less than nothing takes back."""
        await self._grants.add(f"g_{secrets.token_urlsafe(12)}", user_id, nano_usd, self._clock())
