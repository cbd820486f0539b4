"""The command import: accounts, keys and history of the systems that streamproxy replaces."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import click

from streamproxy.cli import sources
from streamproxy.cli.accounts import Accounts, open_accounts, with_accounts
from streamproxy.cli.group import config_option, read_settings
from streamproxy.cli.keyring import open_keyring
from streamproxy.cli.tables import print_table
from streamproxy.services.imports import FormerKey, FormerTurn, FormerUser, HistoryImport, KeyImport, Report, UserImport
from streamproxy.settings import Settings

T = TypeVar("T")

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
_dry_run_option = click.option("--dry-run", is_flag=True, help="Check every row and report, without keeping anything.")


@click.group("import")
def import_group() -> None:
    """Take over accounts, keys and history of an older system.

    What is here already stays as it is, so an import may be repeated. See deploy/migration/README.md.

    \b
    Example:
      streamproxy import chatapi chatgpt.db --dry-run
    """


@import_group.command()
@click.argument("path", type=_FILE)
@_dry_run_option
@config_option
def chatapi(*, path: Path, dry_run: bool, config: Path | None) -> None:
    """Take over the users in ChatAPI's SQLite file PATH; their passwords are kept as hashes.

    Tokens stay behind: they are signed with the other secret. The next POST /token gives each user a new one.

    \b
    Example:
      streamproxy import chatapi ChatAPI/file/chatgpt.db
    """
    settings = read_settings(config)
    users, tokens = sources.chatapi_users(path, _zone(settings)), sources.chatapi_tokens(path)
    report = Report()
    if tokens:
        report.skip("tokens", f"{tokens} rows of tokens", "signed with the other secret; POST /token gives new ones")

    async def work(accounts: Accounts) -> None:
        await _each("users", users, UserImport(accounts.auth, accounts.users, report, dry_run=dry_run).take)

    with_accounts(settings, work)
    _print(report, dry_run=dry_run)


@import_group.command()
@click.option("--users", type=_FILE, help="CSV of the table user: openid, num, and id if there is a history.")
@click.option("--keys", type=_FILE, help="CSV of the table apipoll: apikey, and statu and callnum.")
@click.option("--history", type=_FILE, help="CSV of the table askhis: ask, answ, time, openid.")
@click.option(
    "--upstream", default=None, metavar="NAME", help="Whose keys they are; the default upstream if not given."
)
@_dry_run_option
@config_option
def message(
    *,
    users: Path | None,
    keys: Path | None,
    history: Path | None,
    upstream: str | None,
    dry_run: bool,
    config: Path | None,
) -> None:
    """Take over what the /message backend keeps, from CSV files.

    Users are found by their openid afterwards, and have as many questions left as they had. Keys that were out of
    use stay behind.

    \b
    Example:
      streamproxy import message --users user.csv --keys apipoll.csv --history askhis.csv --dry-run
    """
    if not (users or keys or history):
        raise click.UsageError("name at least one of --users, --keys and --history")
    settings = read_settings(config)
    report, zone = Report(), _zone(settings)
    former_users = sources.message_users(users, report) if users else []
    former_keys = sources.message_keys(keys, report) if keys else []
    by_id = sources.openids(users)
    turns = sources.message_turns(history, report, by_id=by_id, zone=zone) if history else []

    async def work() -> None:
        # First, because an upstream that nobody configured stops it all.
        if former_keys:
            await _take_keys(settings, former_keys, report, upstream=upstream, dry_run=dry_run)
        await _take_people(settings, former_users, turns, report, dry_run=dry_run)

    asyncio.run(work())
    _print(report, dry_run=dry_run)


async def _take_people(
    settings: Settings,
    users: Sequence[FormerUser],
    turns: Sequence[FormerTurn],
    report: Report,
    *,
    dry_run: bool,
) -> None:
    async with open_accounts(settings) as accounts:
        await _each("users", users, UserImport(accounts.auth, accounts.users, report, dry_run=dry_run).take)
        past = HistoryImport(accounts.users, accounts.ledger, report, endpoint="/message", dry_run=dry_run)
        if dry_run:
            past.expect({user.openid for user in users if user.openid})
        await _each("history", turns, past.take)


async def _take_keys(
    settings: Settings, keys: Sequence[FormerKey], report: Report, *, upstream: str | None, dry_run: bool
) -> None:
    async with open_keyring(settings) as keyring:
        name = upstream or settings.upstream.name
        await _each("keys", keys, KeyImport(keyring, report, upstream=name, dry_run=dry_run).take)


def _zone(settings: Settings) -> ZoneInfo:
    """The older systems write local times; they ran where this one counts its days."""
    return ZoneInfo(settings.limits.timezone)


async def _each(kind: str, rows: Sequence[T], take: Callable[[T], Awaitable[None]]) -> None:
    if not rows:
        return
    # Standard output is for the report.
    with click.progressbar(rows, label=kind, file=sys.stderr) as bar:
        for row in bar:
            await take(row)


def _print(report: Report, *, dry_run: bool) -> None:
    kinds = sorted({*report.imported, *(kind for kind, _, _ in report.skipped)})
    imported = "WOULD BE IMPORTED" if dry_run else "IMPORTED"
    print_table(("KIND", imported, "SKIPPED"), [(k, report.imported[k], report.skipped_of(k)) for k in kinds])
    for kind, place, reason in report.skipped:
        click.echo(f"skipped {kind}: {place}: {reason}")
