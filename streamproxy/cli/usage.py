"""The command usage: what a user consumed, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.cli.group import config_option, read_settings
from streamproxy.cli.tables import print_table
from streamproxy.domain.money import usd
from streamproxy.domain.ports import UsageSummary

_DAY = 86_400


@click.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Days to look back, UTC.")
@config_option
def usage(*, name: str, days: int, config: Path | None) -> None:
    """Show what NAME consumed: streams and tokens by day and model.

    ESTIMATED counts the streams whose upstream did not say how many tokens it used.

    \b
    Example:
      streamproxy usage alice --days 7
    """
    # Whole days: today and the days - 1 before it.
    since = (int(time.time()) // _DAY - days + 1) * _DAY

    async def work(accounts: Accounts) -> Sequence[UsageSummary]:
        return await accounts.ledger.usage_by_day((await accounts.named(name)).id, since=since)

    found = list(with_accounts(read_settings(config), work))
    if len(found) > 1:
        found.append(_total(found))
    rows = [
        (
            s.day,
            s.model,
            s.streams,
            s.prompt_tokens,
            s.completion_tokens,
            s.estimated_streams,
            f"{usd(s.cost_nano_usd):.6f}",
        )
        for s in found
    ]
    print_table(("DAY", "MODEL", "STREAMS", "PROMPT TOKENS", "COMPLETION TOKENS", "ESTIMATED", "USD"), rows)


def _total(found: Sequence[UsageSummary]) -> UsageSummary:
    return UsageSummary(
        "total",
        "",
        streams=sum(s.streams for s in found),
        prompt_tokens=sum(s.prompt_tokens for s in found),
        completion_tokens=sum(s.completion_tokens for s in found),
        estimated_streams=sum(s.estimated_streams for s in found),
        cost_nano_usd=sum(s.cost_nano_usd for s in found),
    )
