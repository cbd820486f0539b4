"""A real PostgreSQL for the tests, in a temporary folder, on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.processes import find_program, free_port, stop, wait_until

USER = "streamproxy"


class PostgresServer:
    """Run initdb and postgres as an unprivileged user: postgres refuses to run as root. *options* are initdb's."""

    def __init__(self, *options: str) -> None:
        self._options = options
        # Its own folder below /tmp, not pytest's: the unprivileged user must be able to reach it.
        self._folder = Path(tempfile.mkdtemp(prefix="streamproxy-pg-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        account = self._account()
        if account:
            shutil.chown(self._folder, account)
        initdb = find_program("initdb", package="postgresql")
        data = self._folder / "data"
        command = [initdb, "-D", str(data), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run([*command, *self._options], check=True, user=account, stdout=subprocess.DEVNULL)
        self.launch()

    def launch(self) -> None:
        """Run the server on its data: the first time, and again after ``halt``."""
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder), "-c", "fsync=off"]
        postgres = find_program("postgres", package="postgresql")
        command = [postgres, "-D", str(self._folder / "data"), *options]
        self._process = subprocess.Popen(
            command, user=self._account(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ready = find_program("pg_isready", package="postgresql")
        probe = [ready, "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(probe, check=False).returncode == 0, "postgres answers", 30)

    def halt(self) -> None:
        """Cut every connection at once, keep the data (an "immediate shutdown")."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    @staticmethod
    def _account() -> str | None:
        if os.geteuid() != 0:
            return None
        return next(name for name in ("postgres", "nobody") if name in {p.pw_name for p in pwd.getpwall()})

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond *size* bytes by the server, or by what it starts from now on; None: any may."""
        assert self._process is not None
        limit = f"--fsize={'unlimited' if size is None else size}:"
        postmaster = psutil.Process(self._process.pid)
        # The postmaster first: who is forked later inherits it. As its own user: root alone may not everywhere.
        for pid in (postmaster.pid, *(child.pid for child in postmaster.children())):
            command = [find_program("prlimit", package="util-linux"), "--pid", str(pid), limit]
            # One that has ended meanwhile needs no limit.
            subprocess.run(command, user=self._account(), check=psutil.pid_exists(pid), stderr=subprocess.DEVNULL)

    def create_database(self, name: str, *, disk: Path | None = None) -> str:
        """Make an empty database, its tables on *disk* if one is named, and return its SQLAlchemy URL."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        where = []
        if disk is not None:
            shutil.chown(disk, self._account())
            psql = find_program("psql", package="postgresql")
            command = f"CREATE TABLESPACE {name} LOCATION '{disk}'"
            subprocess.run([psql, *options, "-q", "-c", command, "postgres"], check=True)
            where = ["-D", name]
        createdb = find_program("createdb", package="postgresql")
        subprocess.run([createdb, *options, *where, name], check=True)
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)
