"""The command ``streamproxy``.

Exit code 0 on success, 1 when something could not be done, 2 for a wrong call; what went wrong is one
message on standard error, without a traceback and without secrets.
"""

from __future__ import annotations

import click

from streamproxy import __version__
from streamproxy.cli.group import LazyCommands

# Imported when it is called: most commands need the database and nothing else that takes a while to load.
COMMANDS = {
    "serve": "streamproxy.cli.serving:serve",
    "user": "streamproxy.cli.users:user",
    "token": "streamproxy.cli.bearers:token",
    "apitoken": "streamproxy.cli.apitokens:apitoken",
    "key": "streamproxy.cli.keys:key",
    "usage": "streamproxy.cli.usage:usage",
    "chat": "streamproxy.cli.chat:chat",
    "import": "streamproxy.cli.imports:import_group",
    "check-config": "streamproxy.cli.configuration:check_config",
    "migrate": "streamproxy.cli.configuration:migrate_command",
    "demo-model": "streamproxy.cli.serving:demo_model",
}


@click.group(
    cls=LazyCommands,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="streamproxy")
def main() -> None:
    """Stream chat completions from OpenAI-compatible APIs to browsers and SDKs.

    Without any settings `streamproxy serve` opens a chat page on http://127.0.0.1:8888/ with a
    built-in demo model. Connect a provider by setting OPENAI_API_KEY, or see `check-config --help`.

    \b
    First steps:
      streamproxy serve                      start it
      streamproxy user add alice             make an account
      streamproxy apitoken issue alice       a key for OpenAI's SDKs
      streamproxy key add default            connect a provider
      streamproxy usage alice                what she consumed
      streamproxy chat                       talk to it in the terminal
    """
