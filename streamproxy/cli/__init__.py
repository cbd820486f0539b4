"""The command ``streamproxy``.

Exit code 0 on success, 1 when something could not be done, 2 for a wrong call; what went wrong is one
message on standard error, without a traceback and without secrets.
"""

from __future__ import annotations

import click

from streamproxy import __version__
from streamproxy.cli.apitokens import apitoken
from streamproxy.cli.bearers import token
from streamproxy.cli.configuration import check_config, migrate_command
from streamproxy.cli.group import Commands
from streamproxy.cli.imports import import_group
from streamproxy.cli.keys import key
from streamproxy.cli.serving import demo_model, serve
from streamproxy.cli.usage import usage
from streamproxy.cli.users import user


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    """


for command in (serve, user, token, apitoken, key, usage, import_group, check_config, migrate_command, demo_model):
    main.add_command(command)
