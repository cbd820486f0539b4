"""deploy/systemd by systemd's own judgement, and against what streamproxy does."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

from streamproxy.settings import Settings
from tests.deploy.files import DEPLOY, longest_stop
from tests.support.processes import find_program

UNIT = DEPLOY / "systemd" / "streamproxy.service"
PROGRAM = "/opt/streamproxy/bin/streamproxy"
# "OK" ends at 4.9; an unhardened service has 9.6. https://www.freedesktop.org/software/systemd/man/systemd-analyze.html
MOST_EXPOSED = 2.0


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = find_program("systemd-analyze", package="systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    program = tmp_path / "streamproxy"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, str(program)))
    return unit


def _section(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser[name]


def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    """Unknown fields and sections are warnings of systemd's; here they are faults."""
    run = _analyze("verify", "--man=no", str(installed))
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_systemd_is_really_asked(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("NoNewPrivileges=", "NoNewPriviliges="))
    assert "NoNewPriviliges" in _analyze("verify", "--man=no", str(installed)).stderr


def test_it_is_hardened(installed: Path) -> None:
    run = _analyze("security", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", str(installed))
    assert run.returncode == 0, run.stdout[-400:]


def test_the_drain_has_its_time() -> None:
    """SIGTERM to the parent alone, and nobody killed before the supervisor itself would."""
    service = _section("Service")
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) >= longest_stop(Settings())
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_it_serves_where_nginx_asks() -> None:
    """deploy/nginx/streamproxy.conf as it is shipped knows two workers, each at a port of its own."""
    servers = [line for line in (DEPLOY / "nginx/streamproxy.conf").read_text().splitlines() if " server 127" in line]
    assert _section("Service")["ExecStart"] == f"{PROGRAM} serve --workers {len(servers)} --port-per-worker"
