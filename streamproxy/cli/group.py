"""What all commands share: errors as messages, the option --config, settings read and logging set up."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from streamproxy.errors import StreamProxyError
from streamproxy.log import setup_logging
from streamproxy.redaction import redact
from streamproxy.settings import Settings, load

Function = TypeVar("Function", bound=Callable[..., Any])


class LazyCommands(click.Group):
    """A group that imports a command when it is called, from ``places``: ``module:attribute`` by the command's name.

    It ends with exit code 1 and one message where the program raises its own errors.
    """

    def __init__(self, *args: Any, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the signature is click's
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name].partition(":")
        command: click.Command = getattr(_imported(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StreamProxyError as exc:
            raise click.ClickException(redact(exc.message)) from exc


def _imported(module: str) -> ModuleType:
    """Import *module* for good.

    What it is made of stays to the end of the process: to look through it for garbage, while it is imported and when
    the process ends, takes a third of a short command's time.
    """
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def config_option(function: Function) -> Function:
    """Adds ``--config FILE``."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings file (TOML); else the one that STREAMPROXY_CONFIG names.",
    )(function)


def read_settings(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a short command, which logs only what is wrong, for people to read."""
    settings = load(config, overrides or {}, os.environ).settings
    setup_logging("WARNING", "text")
    return settings
