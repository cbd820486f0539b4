"""Commands that listen: serve, demo-model."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from streamproxy.cli.group import config_option
from streamproxy.log import setup_logging
from streamproxy.settings import load


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, metavar="PORT", help="Port to listen on.  [default: 8888]")
@click.option("--workers", type=int, metavar="N", help="Number of worker processes.  [default: 1]")
@click.option("--port-per-worker", is_flag=True, default=None, help="Worker i listens on port + i, for nginx in front.")
@config_option
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    host: str | None,
    port: int | None,
    workers: int | None,
    port_per_worker: bool | None,
    config: Path | None,
) -> None:
    """Serve the API and the chat page until SIGTERM or Ctrl-C.

    Needs no settings: without a Redis URL it starts a private Redis, without a database URL it keeps
    SQLite in ./data, without an upstream the demo model answers.

    \b
    Examples:
      streamproxy serve
      OPENAI_API_KEY=sk-... streamproxy serve --workers 4
      streamproxy serve --config /etc/streamproxy.toml --host 0.0.0.0
    """
    given = {"host": host, "port": port, "workers": workers, "port_per_worker": port_per_worker}
    settings = load(config, {f"server.{name}": value for name, value in given.items()}, os.environ).settings
    setup_logging(settings.log.level, settings.log.format)
    # What is imported now stays: to look through it again and again for garbage takes a third of the start. The
    # workers are forked with the collector on.
    gc.disable()
    from streamproxy.workers import run

    ctx.exit(run(settings))


@click.command("demo-model")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8889, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
def demo_model(*, host: str, port: int) -> None:
    """Run the demo model alone: an OpenAI-compatible server that is no language model, and says so.

    It streams a typewriter answer, shows the context it was sent, and has models that are slow, long
    or fail, so that a frontend can be tried without a provider.

    \b
    Example:
      streamproxy demo-model --port 9000
      OPENAI_BASE_URL=http://127.0.0.1:9000/v1 OPENAI_API_KEY=demo streamproxy serve
    """
    from streamproxy.demo import run

    setup_logging("INFO")
    run(host, port)
