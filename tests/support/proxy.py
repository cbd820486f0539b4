"""A real proxy process for black-box tests: started by its command, steered by its environment.

A proxy must stop well too: ``stop`` sends SIGTERM and fails the test when the exit code is not 0 or
when the log holds a traceback or a sign of a lost task, whatever the test itself has found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamproxy.cli.accounts import Accounts, open_accounts
from streamproxy.domain.identity import Role
from streamproxy.settings import Settings, load
from tests.support.processes import free_ports, readiness, wait_until

# What asyncio, Tornado and Python itself print when something was lost or broke.
FAULTS = (
    "Traceback (most recent call last)",
    "exception was never retrieved",
    "was never awaited",
    "Task was destroyed but it is pending",
    "Unclosed client session",
    "Unclosed connection",
    "Uncaught exception",
    "Fatal Python error",
    "did not stop and is killed",
)
# What ends a hang, not what is promised: a busy machine takes long to start anything.
STOP_SECONDS = 60
START_SECONDS = 80
HURRY_SECONDS = 0.1
# Many, because a test may make some of them cool down, and every test deserves healthy ones.
KEYS = 240
MODELS = ("gpt-4o-mini", "scripted")
# What these servers are tested for is not how soon they give a Redis up, and on a busy machine it is silent for longer.
PATIENCE = {"REDIS__TIMEOUT_SECONDS": "3"}
# For those that are: as an operator has it who sets nothing.
USUAL_PATIENCE = {"REDIS__TIMEOUT_SECONDS": str(Settings().redis.timeout_seconds)}


def provider_keys(count: int = KEYS) -> tuple[str, ...]:
    """Provider credentials that look like real ones, to be searched for where they must not be."""
    return tuple(f"sk-planted-{i:03d}-{secrets.token_hex(8)}" for i in range(count))


class ProxyProcess:
    """``streamproxy serve`` with its own data folder, one upstream and any further settings.

    *settings* are named as in the environment without the prefix (``STREAMS__HEARTBEAT_SECONDS``).
    """

    def __init__(
        self, folder: Path, *, upstream: str, redis_url: str, settings: Mapping[str, str] | None = None
    ) -> None:
        settings = settings or {}
        self.workers = int(settings.get("SERVER__WORKERS", "1"))
        ports = self.workers if settings.get("SERVER__PORT_PER_WORKER") == "true" else 1
        self.port = free_ports(ports)
        self.ports = [self.port + i for i in range(ports)]
        self.secret = secrets.token_urlsafe(48)
        self.keys = provider_keys()
        self.folder = folder
        self._log = folder / "stderr.log"
        self._checked = 0
        self._bearers: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        chosen = {
            "REDIS__URL": redis_url,
            "DATABASE__URL": f"sqlite+aiosqlite:///{folder}/streamproxy.db",
            "AUTH__SECRET": self.secret,
            "UPSTREAM__BASE_URL": upstream,
            "UPSTREAM__API_KEYS": ",".join(self.keys),
            "UPSTREAM__MODELS": ",".join(MODELS),
            "SERVER__CORS_ORIGINS": "https://chat.example",
            "LIMITS__REQUESTS": "100000/min",
            "LIMITS__CONCURRENT_STREAMS": "1000",
            # Hundreds of sign-ins: what one costs is not what is tested here.
            "AUTH__PASSWORD_COST": "owasp",
            # Everything that is promised holds on the plain ways too: `make test-plain`.
            "SERVER__SHORTCUTS": os.environ.get("TEST_SHORTCUTS", "true"),
            **settings,
        }
        self.database_url = chosen["DATABASE__URL"]
        self._environment = _clean_environment() | {f"STREAMPROXY_{name}": value for name, value in chosen.items()}

    def start(self) -> None:
        """Start and wait until every worker has said that it is ready, and GET /readyz is 200 at every port."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self.folder, stdout=log, stderr=log
            )
        try:
            wait_until(self._ready, "every worker is ready", START_SECONDS)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "streamproxy", "serve", "--port", str(self.port)]

    def _ready(self) -> bool:
        assert self._process is not None
        log = self.log()
        assert self._process.poll() is None, f"serve ended by itself:\n{log}"
        return log.count(" is ready") >= self.workers and all(readiness(port)[0] == 200 for port in self.ports)

    def stop(self) -> None:
        """SIGTERM; the proxy must exit with code 0, having logged no fault."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self.check_log()
        assert code == 0, f"serve exited with {code}:\n{self.log()[-4000:]}"

    def put_away(self) -> None:
        """As ``stop``, for who has no client left: a second SIGTERM, and it waits for nobody who may be arriving."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Two at once would be one.
            self._process.wait(HURRY_SECONDS)
        self.stop()

    def check_log(self) -> None:
        """AssertionError when the log holds a fault that was not there at the last check."""
        news, self._checked = self.log()[self._checked :], len(self.log())
        found = [fault for fault in FAULTS if fault in news]
        at = min(map(news.index, found), default=0)
        assert not found, f"the proxy's log holds {found}:\n{news[max(at - 500, 0) : at + 8000]}"

    def log(self) -> str:
        """All that the proxy has written so far."""
        return self._log.read_text(errors="replace")

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Run another streamproxy command in the same environment and return its standard output."""
        run = self.run(*arguments, stdin=stdin)
        assert run.returncode == 0, f"{arguments} exited with {run.returncode}:\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another streamproxy command that may fail."""
        return subprocess.run(
            [sys.executable, "-m", "streamproxy", *arguments],
            env=self._environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def settings(self) -> Settings:
        """As the proxy reads them."""
        return load(None, {}, self._environment).settings

    @asynccontextmanager
    async def accounts(self) -> AsyncIterator[Accounts]:
        """The proxy's stores about people.

        The code behind the commands, which take a second each to start and are tested where they are the subject.
        """
        async with open_accounts(self.settings) as accounts:
            yield accounts

    def bearer(self, name: str) -> str:
        """A bearer of the user *name*, both made when first asked for."""
        if name not in self._bearers:
            self._bearers[name] = _apart(self._new_bearer(name))
        return self._bearers[name]

    def api_token(self, name: str, *, role: Role = Role.USER) -> str:
        """An API token of a new user *name*."""
        return _apart(self._new_api_token(name, role))

    async def _new_bearer(self, name: str) -> str:
        async with self.accounts() as accounts:
            return await accounts.auth.issue_bearer(await accounts.auth.add_user(name), days=1)

    async def _new_api_token(self, name: str, role: Role) -> str:
        async with self.accounts() as accounts:
            return (await accounts.auth.issue_api_token(await accounts.auth.add_user(name, role=role)))[0]

    def pids(self) -> list[int]:
        """The serving process and all its children."""
        import psutil  # type: ignore[import-untyped]

        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]


def _apart(coroutine: Coroutine[Any, Any, str]) -> str:
    """Run *coroutine* to its end in a loop of its own, also where one is running already."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _clean_environment() -> dict[str, str]:
    """What a shell gives, without settings that the developer's own shell may carry.

    The proxy runs in another folder and must be this package, installed or not.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMPROXY_", "OPENAI_"))}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
