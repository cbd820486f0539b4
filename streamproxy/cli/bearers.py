"""Commands about bearers: token issue."""

from __future__ import annotations

from pathlib import Path

import click

from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.cli.group import config_option, read_settings
from streamproxy.services.accounts import active


@click.group()
def token() -> None:
    """Bearers: signed credentials that expire.

    \b
    Example:
      streamproxy token issue alice --days 7
    """


@token.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), help="Days it is valid.  [default: auth.token_days, 30]")
@config_option
def issue(*, name: str, days: int | None, config: Path | None) -> None:
    """Print one bearer for NAME and nothing else.

    It is signed with the secret of the settings: run it with the settings, and in the folder, that
    the server runs with.

    \b
    Example:
      curl -N http://127.0.0.1:8888/v1/chat/completions \\
        -H "Authorization: Bearer $(streamproxy token issue alice)" \\
        -H 'Content-Type: application/json' \\
        -d '{"model": "demo", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
    """
    settings = read_settings(config)

    async def work(accounts: Accounts) -> str:
        holder = active(await accounts.named(name))
        return await accounts.auth.issue_bearer(holder, days=days or settings.auth.token_days)

    click.echo(with_accounts(settings, work))
