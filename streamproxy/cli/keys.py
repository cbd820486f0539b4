"""Commands about provider keys: key add, list, disable, enable, probe, remove."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from streamproxy.cli.group import config_option, read_settings
from streamproxy.cli.keyring import with_keyring
from streamproxy.cli.tables import print_table
from streamproxy.domain.keypool import KeyState
from streamproxy.domain.limits import LimitPolicy, parse_limits
from streamproxy.domain.ports import StoredKey
from streamproxy.services.keyring import Keyring, KnownKey

_LONGEST_WORDS = 60


@click.group()
def key() -> None:
    """Provider keys: add, list, disable, enable, probe, remove.

    A key is healthy, cooling (the provider asked us to wait), parked (out of quota) or disabled (the provider
    does not know it, or you took it out of use). KEY is an id from the list, its beginning, or the last 4.

    \b
    Example:
      streamproxy key add default --stdin < key.txt && streamproxy key list
    """


@key.command()
@click.argument("upstream")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the key from the first line of standard input.")
@click.option("--weight", type=click.IntRange(1, 1000), default=1, show_default=True, help="Its share of the calls.")
@click.option("--requests", default=None, metavar="N/W", help="Its own limits on requests, for example 500/min.")
@click.option("--tokens", default=None, metavar="N/W", help="Its own limits on tokens, for example 200000/min.")
@click.option("--streams", type=click.IntRange(0), default=None, metavar="N", help="Answers it may run at once.")
@config_option
def add(
    *,
    upstream: str,
    from_stdin: bool,
    weight: int,
    requests: str | None,
    tokens: str | None,
    streams: int | None,
    config: Path | None,
) -> None:
    """Keep a key for UPSTREAM, encrypted, beside those of the settings. Running workers use it within seconds.

    Without --stdin it is asked for, and not shown. Without limits of its own it has its upstream's.

    \b
    Examples:
      streamproxy key add default
      pass show openai | streamproxy key add default --stdin --requests 500/min
    """
    settings = read_settings(config)
    secret = _from_stdin() if from_stdin else click.prompt("Key", hide_input=True, err=True)
    own = None
    if (requests, tokens, streams) != (None, None, None):
        own = LimitPolicy(parse_limits(requests or ""), parse_limits(tokens or ""), streams or 0)

    async def work(keyring: Keyring) -> StoredKey:
        return await keyring.add(upstream, secret, weight=weight, limits=own)

    added = with_keyring(settings, work)
    click.echo(f"added …{added.last4} to {added.upstream} ({added.id})")


@key.command("list")
@config_option
def list_keys(*, config: Path | None) -> None:
    """Show every key by its last 4: how it stands, until when, what it was used for, what it failed by last.

    \b
    Example:
      streamproxy key list
    """
    settings = read_settings(config)

    async def work(keyring: Keyring) -> tuple[list[KnownKey], bool]:
        return await keyring.all(), keyring.reachable

    keys, reachable = with_keyring(settings, work)
    if not reachable:
        click.echo("No running server can be asked: this is how the keys stand at a start.", err=True)
    head = ("ID", "UPSTREAM", "KEY", "FROM", "STATE", "UNTIL", "REQUESTS", "ERRORS", "LAST ERROR", "WHY")
    print_table(head, [_row(known, time.time()) for known in keys])


@key.command()
@click.argument("name", metavar="KEY")
@config_option
def disable(*, name: str, config: Path | None) -> None:
    """Take KEY out of use until it is enabled, across restarts. Running workers notice within seconds.

    \b
    Example:
      streamproxy key disable WXYZ
    """

    async def work(keyring: Keyring) -> KnownKey:
        known = await keyring.one(name)
        await keyring.disable(known)
        return known

    click.echo(f"disabled {_named(with_keyring(read_settings(config), work))}")


@key.command()
@click.argument("name", metavar="KEY")
@config_option
def enable(*, name: str, config: Path | None) -> None:
    """Put KEY back into use, whatever its provider said before. Running workers notice within seconds.

    \b
    Example:
      streamproxy key enable WXYZ
    """

    async def work(keyring: Keyring) -> KnownKey:
        known = await keyring.one(name)
        await keyring.enable(known)
        return known

    click.echo(f"enabled {_named(with_keyring(read_settings(config), work))}")


@key.command()
@click.argument("name", metavar="KEY")
@config_option
@click.pass_context
def probe(ctx: click.Context, *, name: str, config: Path | None) -> None:
    """Ask KEY's provider for its models now; a good answer puts the key back into use. Exit code 1 for a bad one.

    A key that you disabled yourself stays so: `key enable` brings it back.

    \b
    Example:
      streamproxy key probe WXYZ
    """

    async def work(keyring: Keyring) -> tuple[KnownKey, str]:
        known = await keyring.one(name)
        return known, await keyring.probe(known)

    known, fault = with_keyring(read_settings(config), work)
    click.echo(f"{_named(known)}: {fault or 'it works'}")
    ctx.exit(1 if fault else 0)


@key.command()
@click.argument("name", metavar="KEY")
@config_option
def remove(*, name: str, config: Path | None) -> None:
    """Forget KEY, which was added by `key add`. Calls under way keep it to their end.

    \b
    Example:
      streamproxy key remove WXYZ
    """

    async def work(keyring: Keyring) -> KnownKey:
        known = await keyring.one(name)
        await keyring.remove(known)
        return known

    click.echo(f"removed {_named(with_keyring(read_settings(config), work))}")


def _row(known: KnownKey, now: float) -> tuple[object, ...]:
    status, tally, state = known.status, known.tally, known.state(now)
    ends = state in (KeyState.COOLING, KeyState.PARKED) and not known.held
    return (
        known.id,
        known.upstream,
        f"…{known.last4}",
        "key add" if known.stored else "settings",
        str(state),
        _moment(status.until) if ends else "-",
        tally.requests,
        tally.errors,
        f"{tally.last_error} {_moment(tally.at)}" if tally.last_error else "-",
        _why(known, state),
    )


def _why(known: KnownKey, state: KeyState) -> str:
    if known.held:
        return "disabled by hand"
    if known.candidate is None:
        return "its upstream is not there, or it was encrypted under another secret"
    if state is KeyState.HEALTHY:
        return "-"
    said = known.status.message
    words = said if len(said) <= _LONGEST_WORDS else said[: _LONGEST_WORDS - 1] + "…"
    return f"{known.status.reason}: {words}" if words else known.status.reason


def _moment(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(known: KnownKey) -> str:
    return f"…{known.last4} of {known.upstream} ({known.id})"


def _from_stdin() -> str:
    secret = sys.stdin.readline().strip()
    if not secret:
        raise click.UsageError("--stdin: standard input has no key")
    return secret
