"""Commands about API tokens: apitoken issue, list, revoke."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.cli.group import config_option, read_settings
from streamproxy.cli.tables import date_of, print_table
from streamproxy.domain.ports import ApiToken
from streamproxy.errors import NotFoundError
from streamproxy.services.accounts import active


@click.group()
def apitoken() -> None:
    """API tokens: what OpenAI's SDKs take for an api_key. They last until they are revoked.

    \b
    Example:
      export OPENAI_BASE_URL=http://127.0.0.1:8888/v1
      export OPENAI_API_KEY=$(streamproxy apitoken issue alice --label laptop)
    """


@apitoken.command()
@click.argument("name")
@click.option("--label", default="", metavar="L", help="What it is for, to know it again in the list.")
@config_option
def issue(*, name: str, label: str, config: Path | None) -> None:
    """Print a new API token for NAME, once: only its hash is kept.

    \b
    Example:
      streamproxy apitoken issue alice --label laptop
    """

    async def work(accounts: Accounts) -> str:
        text, _ = await accounts.auth.issue_api_token(active(await accounts.named(name)), label=label)
        return text

    click.echo(with_accounts(read_settings(config), work))


@apitoken.command("list")
@click.argument("name", required=False)
@config_option
def list_tokens(*, name: str | None, config: Path | None) -> None:
    """Show all API tokens, or those of NAME, by their last four characters.

    \b
    Example:
      streamproxy apitoken list alice
    """

    async def work(accounts: Accounts) -> Sequence[ApiToken]:
        return await accounts.credentials.api_tokens(None if name is None else (await accounts.named(name)).id)

    rows = [
        (
            token.id,
            token.user_name,
            token.label or "-",
            f"…{token.last4}",
            "revoked" if token.revoked else "active",
            date_of(token.created),
        )
        for token in with_accounts(read_settings(config), work)
    ]
    print_table(("ID", "USER", "LABEL", "TOKEN", "STATE", "CREATED"), rows)


@apitoken.command()
@click.argument("token_id", metavar="ID")
@config_option
def revoke(*, token_id: str, config: Path | None) -> None:
    """Revoke the API token ID, for good. Running workers notice within auth.cache_seconds.

    \b
    Example:
      streamproxy apitoken revoke t_Vt3kJ9...
    """

    async def work(accounts: Accounts) -> None:
        if not await accounts.auth.revoke_api_token(token_id):
            raise NotFoundError(f"There is no active API token {token_id!r}; `streamproxy apitoken list` shows all.")

    with_accounts(read_settings(config), work)
    click.echo(f"revoked {token_id}")
