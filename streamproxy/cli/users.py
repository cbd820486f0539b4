"""Commands about accounts: user add, list, grant, disable."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from streamproxy.cli.accounts import Accounts, with_accounts
from streamproxy.cli.group import config_option, read_settings
from streamproxy.cli.tables import date_of, print_table
from streamproxy.domain.identity import Role
from streamproxy.domain.money import Balance, parse_amount
from streamproxy.domain.ports import User

_PAGE = 500


@click.group()
def user() -> None:
    """Accounts: add, list, grant, disable.

    \b
    Example:
      streamproxy user add alice && streamproxy token issue alice
    """


@user.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--openid", metavar="ID", help="The account's openid for POST /message.")
@click.option("--questions", type=click.IntRange(0), metavar="N", help="Questions left; without it any number.")
@config_option
def add(
    *, name: str, password_stdin: bool, role: str, openid: str | None, questions: int | None, config: Path | None
) -> None:
    """Make an account called NAME.

    Without a password it can be used with bearers and API tokens, not for signing in.

    \b
    Examples:
      streamproxy user add alice
      streamproxy user add bob --role admin --password-stdin < password.txt
    """
    settings = read_settings(config)
    password = _password() if password_stdin else None

    async def work(accounts: Accounts) -> User:
        return await accounts.auth.add_user(
            name, password=password, role=Role(role), openid=openid, questions=questions
        )

    made = with_accounts(settings, work)
    click.echo(f"added {made.role} {made.name} ({made.id})")


@user.command("list")
@config_option
def list_users(*, config: Path | None) -> None:
    """Show all accounts.

    \b
    Example:
      streamproxy user list
    """
    rows = [
        (
            user.name,
            user.role,
            "disabled" if user.disabled else "active",
            "any" if user.questions_left is None else user.questions_left,
            date_of(user.created),
            user.id,
        )
        for user in with_accounts(read_settings(config), _all)
    ]
    print_table(("NAME", "ROLE", "STATE", "QUESTIONS", "CREATED", "ID"), rows)


@user.command()
@click.argument("name")
@click.argument("amount")
@config_option
def grant(*, name: str, amount: str, config: Path | None) -> None:
    """Credit NAME with AMOUNT in USD, for /pro/balance and the billing pages.

    Amounts add up. A mistake is taken back with an amount below zero, behind two dashes.

    \b
    Examples:
      streamproxy user grant alice 18
      streamproxy user grant alice -- -0.50
    """
    nano_usd = parse_amount(amount)

    async def work(accounts: Accounts) -> Balance:
        account = await accounts.named(name)
        await accounts.billing.grant(account.id, nano_usd)
        return await accounts.billing.balance(account.id)

    balance = with_accounts(read_settings(config), work)
    click.echo(f"granted {amount} USD to {name}: {balance.total} in total, {balance.balance} left")


@user.command()
@click.argument("name")
@config_option
def disable(*, name: str, config: Path | None) -> None:
    """Lock NAME out: bearers are revoked for good, API tokens no longer work.

    Running workers notice within auth.cache_seconds. History and usage stay.

    \b
    Example:
      streamproxy user disable alice
    """

    async def work(accounts: Accounts) -> None:
        await accounts.auth.disable(await accounts.named(name))

    with_accounts(read_settings(config), work)
    click.echo(f"disabled {name}")


async def _all(accounts: Accounts) -> list[User]:
    found: list[User] = []
    while page := await accounts.users.page(after=found[-1].name if found else "", limit=_PAGE):
        found += page
    return found


def _password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.UsageError("--password-stdin: standard input has no password")
    return password
