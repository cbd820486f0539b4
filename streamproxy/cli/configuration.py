"""Commands about the installation itself: check-config, migrate."""

from __future__ import annotations

import os
from pathlib import Path

import click

from streamproxy.cli.group import config_option, read_settings
from streamproxy.settings import load
from streamproxy.stores.sql.migrations import migrate


@click.command("check-config")
@config_option
def check_config(*, config: Path | None) -> None:
    """Print every setting with its value and where it comes from; secrets are masked.

    Exit code 1 when anything is wrong, with all faults at once. A setting is given on the command
    line, else in the environment as STREAMPROXY_<SECTION>__<FIELD>, else in a TOML file as FIELD in
    the table [SECTION]; lists in the environment are comma-separated.

    \b
    Examples:
      streamproxy check-config --config streamproxy.toml
      STREAMPROXY_LIMITS__REQUESTS=3/30s,20/calendar-day streamproxy check-config
    """
    for name, value, source in load(config, {}, os.environ).lines():
        click.echo(f"{name} = {value}  ({source})")


@click.command("migrate")
@config_option
def migrate_command(*, config: Path | None) -> None:
    """Bring the database up to date. `serve` does it too; run it alone to see it happen.

    \b
    Example:
      streamproxy migrate --config /etc/streamproxy.toml
    """
    applied = migrate(read_settings(config).database_url)
    click.echo("applied " + ", ".join(applied) if applied else "the database is up to date")
