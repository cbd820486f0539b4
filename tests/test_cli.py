"""The command line: help that teaches, exit codes, check-config."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import streamproxy
from streamproxy.cli import main
from streamproxy.settings.names import FIELDS
from tests.support.rootlogger import root_logger_kept


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(main))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with root_logger_kept():
        yield


def run(*arguments: str, **environ: str) -> Result:
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "STREAMPROXY_CONFIG")
    clean: dict[str, str | None] = dict.fromkeys(names)
    return CliRunner().invoke(main, arguments, env={**clean, **environ})


def test_the_commands_of_the_fixed_surface_exist() -> None:
    assert {" ".join(path) for path in ALL} == {
        *("serve", "check-config", "migrate", "demo-model", "usage", "chat"),
        *("user", "user add", "user list", "user disable", "user grant"),
        *("token", "token issue"),
        *("apitoken", "apitoken issue", "apitoken list", "apitoken revoke"),
        *("key", "key add", "key list", "key disable", "key enable", "key probe", "key remove"),
        *("import", "import chatapi", "import message"),
    }


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_teaches(path: tuple[str, ...]) -> None:
    """What the command does, and an example one can copy."""
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert "  streamproxy " in result.output or "$(streamproxy " in result.output


@pytest.mark.parametrize("path", [path for path, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_that_reads_settings_takes_a_file(path: tuple[str, ...]) -> None:
    options = {option for parameter in ALL[path].params for option in parameter.opts}
    assert ("--config" in options) == (path not in {("demo-model",), ("chat",)})


def test_python_m_streamproxy_is_the_same_command() -> None:
    root = Path(streamproxy.__file__).parents[1]
    command = [sys.executable, "-m", "streamproxy", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stdout == f"streamproxy, version {streamproxy.__version__}\n"


def test_a_command_loads_no_more_than_it_needs() -> None:
    """Who asks for help on accounts waits for no Redis driver, no HTTP client and no web server."""
    code = "import sys; from streamproxy.cli import main; main(['user', '--help'], standalone_mode=False); "
    code += "print([m for m in ('redis', 'aiohttp', 'tornado', 'tiktoken') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_what_a_command_is_made_of_is_never_searched_for_garbage_and_the_rest_is() -> None:
    code = (
        "import gc; from streamproxy.cli import main; main(['usage', '--help'], standalone_mode=False);"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"


def test_check_config_prints_every_value_with_its_source_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "streamproxy.toml"
    path.write_text("[server]\nport = 9000\n[redis]\nurl = 'redis://:canary@db.example/0'\n")
    result = run("check-config", "--config", str(path), OPENAI_API_KEY="sk-canary", STREAMPROXY_SERVER__WORKERS="4")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert f"server.port = 9000  (file {path})" in lines
    assert "server.workers = 4  (environment STREAMPROXY_SERVER__WORKERS)" in lines
    assert "upstream.api_keys = ***  (environment OPENAI_API_KEY)" in lines
    assert "limits.requests = 60/min  (default)" in lines
    assert "canary" not in result.output
    assert [line.split(" = ")[0] for line in lines] == [name for name in FIELDS if name != "upstreams"]


def test_check_config_ends_with_1_and_all_faults() -> None:
    result = run("check-config", STREAMPROXY_SERVER__PORT="x", STREAMPROXY_AUTH__SECRET="short")
    assert result.exit_code == 1
    assert "2 faults in the settings" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [("serve", "--workers", "0"), ("serve", "--config", "missing.toml"), ("user", "list", "--config", "missing.toml")],
)
def test_faulty_settings_end_every_command_with_1(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: one fault in the settings:")


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("serve", "--port", "x"), ("token", "issue"), ("token", "issue", "a", "--days", "0")],
)
def test_a_wrong_call_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
